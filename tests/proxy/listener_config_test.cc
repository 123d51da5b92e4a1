// The section `listen` of the edge's configuration.
#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "proxy/config.h"
#include "tests/support/temp_dir.h"

namespace proxy {
namespace {

class ListenerConfigTest : public ::testing::Test {
 protected:
  http::TlsOptions read(const std::string& more) {
    const auto path = directory.path() / "edge.yml";
    std::ofstream(path) << "listen: [{addr: \":443\", tls: {certificate: c, key: k" << more
                        << "}}]\ncache: {directory: /c, size: 1GiB}\n"
                           "upstreams: [{urls: [https://one.example]}]\n";
    return read_edge_config(path).listeners.at(0).tls.value();
  }
  test::TempDir directory;
};

// As in the origin's file: who names authorities of clients wants no others.
TEST_F(ListenerConfigTest, ClientsMustShowCertificatesOfTheAuthorities) {
  EXPECT_FALSE(read("").require_client_certificate);
  EXPECT_TRUE(read(", clientcas: [ca.pem]").require_client_certificate);
  EXPECT_FALSE(read(", clientcas: [ca.pem], clientauth: verify-client-cert-if-given")
                   .require_client_certificate);
}

TEST_F(ListenerConfigTest, MoreCertificatesOfOtherNames) {
  const auto certificates =
      read(", certificates: [{certificate: c2, key: k2}, {certificate: c3, key: k3}]").certificates;
  ASSERT_EQ(certificates.size(), 3U);
  EXPECT_EQ(certificates[0].certificate, "c");
  EXPECT_EQ(certificates[1].key, "k2");
  EXPECT_EQ(certificates[2].certificate, "c3");
  EXPECT_THROW(read(", certificates: [{certificate: c2}]"), base::ConfigError);
}

}  // namespace
}  // namespace proxy
