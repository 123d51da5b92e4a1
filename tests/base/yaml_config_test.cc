#include "base/yaml_config.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "tests/support/temp_dir.h"

namespace base {
namespace {

using namespace std::chrono_literals;
using Strings = std::vector<std::string>;

class YamlConfig : public testing::Test {
 protected:
  ConfigFile load(const std::string& text) {
    std::ofstream(path_) << text;
    return ConfigFile(path_);
  }

  // The text of the ConfigError that the call throws, with the file's name as "F".
  template <typename Call>
  std::string error_of(Call call) {
    try {
      call();
    } catch (const ConfigError& e) {
      return shorten(e.what());
    }
    return "no error";
  }

  std::string load_error(const std::string& text) {
    return error_of([&] { load(text); });
  }

  Strings unread(const ConfigFile& file) {
    Strings out;
    for (const ConfigFile::Key& key : file.unread()) out.push_back(shorten(key.where) + key.path);
    return out;
  }

  std::string shorten(std::string text) {
    const std::string name = path_.string();
    for (size_t at = text.find(name); at != std::string::npos; at = text.find(name)) {
      text.replace(at, name.size(), "F");
    }
    return text;
  }

  test::TempDir temp_;
  const std::filesystem::path path_ = temp_.path() / "config.yml";
};

TEST_F(YamlConfig, ReadsADistributionFile) {
  const ConfigFile file = load(
      "version: 0.1\n"
      "log: {level: info, accesslog: {disabled: true}}\n"
      "storage:\n"
      "  filesystem: {rootdirectory: /var/lib/registry}\n"
      "  delete: {enabled: true}\n"
      "http:\n"
      "  addr: :5000\n"
      "  secret: \"\"\n"
      "  draintimeout: 1m30s\n"
      "  headers:\n"
      "    X-Content-Type-Options: [nosniff]\n"
      "    Vary: [Accept, Origin]\n"
      "  tls:\n"
      "    clientcas:\n"
      "      - ca.pem\n"
      "      - other.pem\n"
      "    minimumtls: tls1.3\n");
  const Section root = file.root();
  EXPECT_EQ(root.string("version"), "0.1");
  EXPECT_EQ(root.section("log").choice("level", {"debug", "info"}, "debug"), "info");
  EXPECT_TRUE(root.section("log").section("accesslog").boolean("disabled", false));
  const Section storage = root.section("storage");
  EXPECT_EQ(storage.section("filesystem").required_string("rootdirectory"), "/var/lib/registry");
  EXPECT_TRUE(storage.section("delete").boolean("enabled", false));
  const Section http = root.section("http");
  EXPECT_EQ(http.string("addr"), ":5000");
  EXPECT_EQ(http.string("secret", "none"), "");
  EXPECT_EQ(http.duration("draintimeout", 0s), 90s);
  const Section headers = http.section("headers");
  EXPECT_EQ(headers.keys(), (Strings{"X-Content-Type-Options", "Vary"}));
  EXPECT_EQ(headers.strings("X-Content-Type-Options"), Strings{"nosniff"});
  EXPECT_EQ(headers.strings("Vary"), (Strings{"Accept", "Origin"}));
  EXPECT_EQ(http.section("tls").strings("clientcas"), (Strings{"ca.pem", "other.pem"}));
  EXPECT_EQ(http.section("tls").choice("minimumtls", {"tls1.2", "tls1.3"}, "tls1.2"), "tls1.3");
  EXPECT_EQ(unread(file), Strings{});
}

TEST_F(YamlConfig, ReadsAnEdgeFile) {
  const ConfigFile file = load(
      "listen:\n"
      "  - {addr: \":443\", tls: {certificate: f.pem}}\n"
      "  - {addr: :80}\n"
      "cache: {directory: /var/cache/entrepot, size: 100GiB}\n"
      "upstream:\n"
      "  urls: https://registry.example\n"
      "server:\n"
      "  loops: 4\n");
  const std::vector<Section> listen = file.root().sections("listen");
  ASSERT_EQ(listen.size(), 2U);
  EXPECT_EQ(listen[0].string("addr"), ":443");
  EXPECT_EQ(listen[0].section("tls").string("certificate"), "f.pem");
  EXPECT_EQ(listen[1].string("addr"), ":80");
  EXPECT_FALSE(listen[1].section("tls").present());
  EXPECT_EQ(file.root().section("cache").size("size", 0), 100ULL << 30);
  EXPECT_EQ(file.root().section("upstream").strings("urls"), Strings{"https://registry.example"});
  EXPECT_EQ(file.root().section("server").integer("loops", 0, 0, 256), 4);
}

TEST_F(YamlConfig, WhatIsMissingOrEmptyHasItsDefault) {
  const ConfigFile file = load("http:\nlog:\n  level:\n  other: ~\n");
  const Section http = file.root().section("http");
  EXPECT_FALSE(http.present());
  EXPECT_FALSE(http.has("addr"));
  EXPECT_EQ(http.string("addr", ":5000"), ":5000");
  EXPECT_EQ(http.boolean("relativeurls", true), true);
  EXPECT_EQ(http.integer("n", 5, 0, 9), 5);
  EXPECT_EQ(http.duration("draintimeout", 7s), 7s);
  EXPECT_EQ(http.size("max", 9), 9U);
  EXPECT_EQ(http.strings("hosts"), Strings{});
  EXPECT_EQ(http.keys(), Strings{});
  EXPECT_TRUE(http.sections("listen").empty());
  EXPECT_FALSE(http.section("tls").section("letsencrypt").present());
  const Section log = file.root().section("log");
  EXPECT_TRUE(log.present());
  EXPECT_FALSE(log.has("level"));
  EXPECT_EQ(log.string("level", "info"), "info");
  EXPECT_EQ(log.string("other", "kept"), "kept");
}

TEST_F(YamlConfig, AnEmptyFileHasEveryDefault) {
  EXPECT_FALSE(load("").root().has("http"));
  EXPECT_FALSE(load("# nothing but a comment\n").root().has("http"));
  EXPECT_EQ(load("").root().string("a", "default"), "default");
  EXPECT_EQ(error_of([&] { load("").root().required_string("name"); }),
            "F: name: expected a value, found nothing");
}

TEST_F(YamlConfig, KeysAreCaseSensitive) {
  const ConfigFile file = load("Addr: x\n");
  EXPECT_EQ(file.root().string("addr", "default"), "default");
  EXPECT_EQ(unread(file), Strings{"F:1:1: Addr"});
}

TEST_F(YamlConfig, NamesEveryKeyNobodyAskedFor) {
  const ConfigFile file = load(
      "http:\n"
      "  addr: :5000\n"
      "  h2c: true\n"
      "  debug: {addr: x}\n"
      "listen:\n"
      "  - addr: x\n"
      "  - addr: y\n"
      "    typo: z\n"
      "other: [1, 2]\n");
  file.root().section("http").string("addr");
  for (int twice = 0; twice < 2; ++twice) {
    for (const Section& listen : file.root().sections("listen")) listen.string("addr");
  }
  EXPECT_EQ(unread(file), (Strings{
                              "F:3:3: http.h2c",
                              "F:4:3: http.debug",
                              "F:8:5: listen[1].typo",
                              "F:9:1: other",
                          }));
}

TEST_F(YamlConfig, ASectionReadTwiceIsOneSection) {
  const ConfigFile file = load("http: {addr: x, host: y}\n");
  file.root().section("http").string("addr");
  file.root().section("http").string("host");
  EXPECT_EQ(unread(file), Strings{});
}

TEST_F(YamlConfig, SaysWhatWouldBeRight) {
  const ConfigFile file = load(
      "http:\n"
      "  draintimeout: abc\n"
      "  relativeurls: maybe\n"
      "  number: 12x\n"
      "  size: 1.5 GiB\n"
      "  level: [a]\n"
      "  tls: on\n"
      "  hosts: {a: b}\n"
      "  via: [a, [b]]\n"
      "  listen: [{a: 1}, b]\n"
      "  mode: debug\n"
      "  empty: ''\n"
      "  nothing:\n"
      "  control: \"a\\nb\"\n");
  const Section http = file.root().section("http");
  EXPECT_EQ(error_of([&] { http.duration("draintimeout", 0s); }),
            "F:2:17: http.draintimeout: expected a duration such as 30s or 5m, found \"abc\"");
  EXPECT_EQ(error_of([&] { http.boolean("relativeurls", false); }),
            "F:3:17: http.relativeurls: expected true or false, found \"maybe\"");
  EXPECT_EQ(error_of([&] { http.integer("number", 0, 1, 100); }),
            "F:4:11: http.number: expected a whole number from 1 to 100, found \"12x\"");
  EXPECT_EQ(error_of([&] { http.integer("number", 0, 0, INT64_MAX); }),
            "F:4:11: http.number: expected a whole number, at least 0, found \"12x\"");
  EXPECT_EQ(error_of([&] { http.size("size", 0); }),
            "F:5:9: http.size: expected a size such as 4096, 64KiB or 100GB, found \"1.5 GiB\"");
  EXPECT_EQ(error_of([&] { http.string("level"); }),
            "F:6:10: http.level: expected a string, found a list");
  EXPECT_EQ(error_of([&] { http.section("tls"); }),
            "F:7:8: http.tls: expected a mapping, found \"on\"");
  EXPECT_EQ(error_of([&] { http.strings("hosts"); }),
            "F:8:10: http.hosts: expected a list of strings, found a mapping");
  EXPECT_EQ(error_of([&] { http.strings("via"); }),
            "F:9:12: http.via[1]: expected a string, found a list");
  EXPECT_EQ(error_of([&] { http.sections("listen"); }),
            "F:10:20: http.listen[1]: expected a mapping, found \"b\"");
  EXPECT_EQ(error_of([&] { http.sections("hosts"); }),
            "F:8:10: http.hosts: expected a list of mappings, found a mapping");
  EXPECT_EQ(error_of([&] { http.choice("mode", {"tls1.2", "tls1.3"}, "tls1.2"); }),
            "F:11:9: http.mode: expected tls1.2 or tls1.3, found \"debug\"");
  EXPECT_EQ(error_of([&] { http.choice("mode", {"a", "b", "c"}, "a"); }),
            "F:11:9: http.mode: expected a, b or c, found \"debug\"");
  EXPECT_EQ(error_of([&] { http.required_string("empty"); }),
            "F:12:10: http.empty: expected a value, found \"\"");
  EXPECT_EQ(error_of([&] { http.required_string("nothing"); }),
            "F:13:3: http.nothing: expected a value, found nothing");
  EXPECT_EQ(error_of([&] { http.required_string("missing"); }),
            "F:2:3: http.missing: expected a value, found nothing");
  EXPECT_EQ(error_of([&] { http.boolean("control", false); }),
            "F:14:12: http.control: expected true or false, found \"a\\nb\"");
}

TEST_F(YamlConfig, RefusesNumbersOutOfRange) {
  const ConfigFile file = load("a: 0\nb: 101\nc: 99999999999999999999\nd: 7\n");
  const Section root = file.root();
  EXPECT_EQ(error_of([&] { root.integer("a", 5, 1, 100); }),
            "F:1:4: a: expected a whole number from 1 to 100, found \"0\"");
  EXPECT_EQ(error_of([&] { root.integer("b", 5, 1, 100); }),
            "F:2:4: b: expected a whole number from 1 to 100, found \"101\"");
  EXPECT_EQ(error_of([&] { root.integer("c", 5, 1, 100); }),
            "F:3:4: c: expected a whole number from 1 to 100, found \"99999999999999999999\"");
  EXPECT_EQ(root.integer("d", 5, 1, 100), 7);
  EXPECT_EQ(error_of([&] { root.duration("d", 0s); }),
            "F:4:4: d: expected a duration such as 30s or 5m, found \"7\"");
}

TEST_F(YamlConfig, NamesElementsOfLists) {
  const ConfigFile file = load(
      "listen:\n"
      "  - addr: x\n"
      "  - addr: y\n"
      "    tls:\n"
      "      certificate: f.pem\n");
  const std::vector<Section> listen = file.root().sections("listen");
  EXPECT_EQ(error_of([&] { listen[1].section("tls").required_string("key"); }),
            "F:5:7: listen[1].tls.key: expected a value, found nothing");
  EXPECT_EQ(error_of([&] { listen[0].section("tls").required_string("key"); }),
            "F:2:5: listen[0].tls.key: expected a value, found nothing");
}

TEST_F(YamlConfig, CallersNameTheirOwnMistakes) {
  const ConfigFile file = load("redirect:\n  status: 301\n");
  EXPECT_EQ(error_of([&] { file.root().section("redirect").fail("status", "302 or 307"); }),
            "F:2:11: redirect.status: expected 302 or 307, found \"301\"");
}

TEST_F(YamlConfig, RefusesWhatIsNotAConfiguration) {
  EXPECT_EQ(load_error("a: [1, 2\n"), "F:2:1: end of sequence flow not found");
  EXPECT_EQ(load_error("just text\n"), "F:1:1: expected a mapping, found \"just text\"");
  EXPECT_EQ(load_error("- a\n- b\n"), "F:1:1: expected a mapping, found a list");
  EXPECT_EQ(load_error("http: {a: 1, b: 2}\nlog: x\nhttp: y\n"),
            "F:3:1: http: given twice, first in line 1");
  EXPECT_EQ(load_error("[a, b]: c\n"), "F:1:1: expected a word as key");
  EXPECT_EQ(error_of([&] { ConfigFile(temp_.path() / "none.yml"); }),
            temp_.path().string() + "/none.yml: there is no such file");
  EXPECT_EQ(error_of([&] { ConfigFile(temp_.path()); }),
            "read " + temp_.path().string() + ": Is a directory");
  const ConfigFile file = load("http: {a: 1, a: 2}\n");
  EXPECT_EQ(error_of([&] { file.root().section("http"); }),
            "F:1:14: http.a: given twice, first in line 1");
}

TEST_F(YamlConfig, OverridesStandInForTheFilesValues) {
  std::ofstream(path_) << "http: {addr: ':1', headers: {A: [x]}}\nlist: [a, b]\n";
  const ConfigFile file(path_, {{"V1", {"http", "addr"}, "':2'"},
                                {"V2", {"http", "tls", "certificate"}, "c.pem"},
                                {"V3", {"list", "1"}, "c"},
                                {"V4", {"list", "2"}, "d"},
                                {"V5", {"fresh", "0", "url"}, "u"},
                                {"V6", {"wrong"}, "{a: 1}"},
                                {"V7", {"items"}, "[{n: x}]"}});
  const Section root = file.root();
  EXPECT_EQ(root.section("http").string("addr"), ":2");
  EXPECT_EQ(root.section("http").section("tls").string("certificate"), "c.pem");
  EXPECT_EQ(root.section("http").section("headers").strings("A"), Strings{"x"});
  EXPECT_EQ(root.strings("list"), (Strings{"a", "c", "d"}));
  EXPECT_EQ(root.sections("fresh")[0].string("url"), "u");
  EXPECT_EQ(error_of([&] { root.string("wrong"); }),
            "V6: wrong: expected a string, found a mapping");
  EXPECT_EQ(error_of([&] { root.sections("items")[0].integer("n", 0, 0, 1); }),
            "V7: items[0].n: expected a whole number from 0 to 1, found \"x\"");
}

TEST_F(YamlConfig, OverridesThatDoNotFitNameTheirSource) {
  std::ofstream(path_) << "list: [a]\n";
  const auto with = [&](const Override& value) {
    return error_of([&] { ConfigFile(path_, {value}); });
  };
  EXPECT_EQ(with({"V", {"list", "3"}, "x"}), "V: list[3]: the list has only 1 elements");
  EXPECT_EQ(with({"V", {"a"}, "{b"}), "V: end of map flow not found");
}

TEST_F(YamlConfig, ShowsWhatIsInForceWithoutSecrets) {
  const ConfigFile file = load(
      "http: {addr: ':1', secret: s3cret}\n"
      "proxy: http://user:pass@host:1/path@x\n"
      "endpoints: [{url: 'https://u:p@h', headers: {Authorization: [Basic x]}}]\n"
      "unknown: 1\n");
  const Section root = file.root();
  const Section http = root.section("http");
  http.string("addr");
  http.secret("secret");
  http.duration("drain", 90s);
  http.size("limit", 3 << 20);
  http.boolean("on", false);
  http.integer("count", 7, 0, 9);
  http.string("host");
  root.section("absent").string("nothing");
  root.string("proxy");
  for (const Section& endpoint : root.sections("endpoints")) {
    endpoint.string("url");
    const Section headers = endpoint.section("headers");
    headers.hide_values();
    headers.strings("Authorization");
  }
  EXPECT_EQ(file.effective(),
            "http:\n"
            "  addr: :1\n"
            "  secret: \"********\"\n"
            "  drain: 1m30s\n"
            "  limit: 3MiB\n"
            "  on: false\n"
            "  count: 7\n"
            "proxy: http://********@host:1/path@x\n"
            "endpoints:\n"
            "  - url: https://********@h\n"
            "    headers:\n"
            "      Authorization: \"********\"\n");
  EXPECT_EQ(file.read_paths(),
            (Strings{"http.addr", "http.secret", "http.drain", "http.limit", "http.on",
                     "http.count", "http.host", "absent.nothing", "proxy", "endpoints[].url",
                     "endpoints[].headers.Authorization"}));
}

TEST_F(YamlConfig, AWrongSecretIsNotShown) {
  const ConfigFile file = load("a: {b: [s3cret]}\n");
  const Section section = file.root().section("a");
  EXPECT_EQ(error_of([&] { section.secret("b"); }).find("s3cret"), std::string::npos);
}

}  // namespace
}  // namespace base
