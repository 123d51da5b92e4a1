#include "base/uuid.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace base {
namespace {

TEST(UuidTest, IsRandomAndOfVersion4) {
  const std::string uuid = random_uuid();
  EXPECT_THAT(uuid, testing::MatchesRegex("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-"
                                          "[0-9a-f]{12}"));
  EXPECT_NE(uuid, random_uuid());
}

}  // namespace
}  // namespace base
