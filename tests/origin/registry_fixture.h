// Registries in this process, on real sockets, as many replicas on one directory as a test needs.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <string>

#include "origin/registry.h"
#include "origin/storage/layout.h"
#include "tests/origin/client.h"
#include "tests/support/temp_dir.h"

namespace origin {

class RegistryTest : public ::testing::Test {
 protected:
  Config config() const {
    Config c;
    c.root = dir_.path();
    c.delete_enabled = true;
    c.address = "127.0.0.1:0";
    c.loops = 1;
    c.threads = 4;
    c.access_log = false;
    return c;
  }

  // Before what a derived fixture has and they work with: queues, endpoints.
  void TearDown() override { registries_.clear(); }

  // Starts one and returns it; it stops at the end of the test.
  Registry& start(Config c) {
    registries_.push_back(std::make_unique<Registry>(std::move(c)));
    registries_.back()->start();
    return *registries_.back();
  }
  uint16_t start() { return start(config()).port(); }

  const Layout& layout() const { return layout_; }

  static std::string content(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  static void write(const std::filesystem::path& path, std::string_view bytes) {
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << bytes;
  }

 private:
  test::TempDir dir_;
  const Layout layout_{dir_.path()};
  std::vector<std::unique_ptr<Registry>> registries_;
};

}  // namespace origin
