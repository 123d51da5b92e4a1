// patient_server <certificate> <key>: the server side of http/ behind TLS as a program, for
// conformance suites. Whatever is asked, it answers once it has the whole request: a suite that
// breaks a rule within a request then hears of that, and of nothing else.
#include <glog/logging.h>

#include <string>

#include "base/log.h"
#include "http/service.h"
#include "http/tls.h"
#include "tests/support/test_server.h"

namespace {

base::Task<void> answer(http::Exchange& exchange) {
  while (true) {
    const std::string_view block = co_await exchange.body.read();
    if (block.empty()) break;
  }
  http::Response response{.body = "the answer"};
  co_await exchange.response.send(std::move(response));
}

}  // namespace

int main(int argc, char** argv) {
  base::init_logging("patient_server");
  CHECK_EQ(argc, 3) << "expected a certificate and its key";
  http::Service service;
  test::TestServer server(answer, {.tls = std::make_shared<http::TlsContext>(
                                       http::TlsOptions{.certificates = {{argv[1], argv[2]}}})});
  service.run(server.loops(),
              {.start = [&] { LOG(INFO) << "listening on localhost:" << server.port(); },
               .reload = [] {},
               .leave = {},
               .drain = [&] { server.server().drain(std::chrono::seconds(1)); }});
  return http::kExitOk;
}
