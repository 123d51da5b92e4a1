#include "proxy/status_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

namespace proxy {
namespace {

constexpr std::string_view kHead = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="5">
<style>
:root{color-scheme:light dark;--ink:#1b2430;--dim:#5d6b7c;--line:#dde3ea;--card:#fff;--back:#f4f6f8;--bar:#2a78d6;--warn:#b3261e}
@media(prefers-color-scheme:dark){:root{--ink:#e6ebf1;--dim:#94a3b5;--line:#2c3744;--card:#1a222c;--back:#11161d;--bar:#5a9cec;--warn:#f2766c}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);font:15px/1.45 system-ui,sans-serif}
header,main{max-width:68rem;margin:0 auto;padding:1rem}
header{display:flex;flex-wrap:wrap;gap:.25rem 1rem;align-items:baseline}
h1{font-size:1.25rem;margin:0;overflow-wrap:anywhere}
h2{font-size:1rem;margin:1.75rem 0 .5rem}
.dim{color:var(--dim)}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(10rem,1fr));gap:.75rem}
.card{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.75rem .9rem}
.card b{display:block;font-size:1.5rem;font-weight:600;font-variant-numeric:tabular-nums}
.bar{height:.5rem;border-radius:.25rem;background:var(--line);overflow:hidden;min-width:4rem}
.bar i{display:block;height:100%;background:var(--bar)}
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:.5rem}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.4rem .75rem;border-top:1px solid var(--line);white-space:nowrap}
tr:first-child th{border-top:0;color:var(--dim);font-weight:500}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
code{font:13px ui-monospace,monospace}
p.none{margin:0;padding:.6rem .75rem;color:var(--dim)}
.bad{color:var(--warn)}
</style>
)";

std::string escape(std::string_view text) {
  std::string safe;
  safe.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        safe += "&amp;";
        break;
      case '<':
        safe += "&lt;";
        break;
      case '>':
        safe += "&gt;";
        break;
      case '"':
        safe += "&quot;";
        break;
      case '\'':
        safe += "&#39;";
        break;
      default:
        safe += c;
    }
  }
  return safe;
}

std::string card(std::string_view label, const std::string& figure, const std::string& note) {
  return fmt::format(
      "<div class=\"card\"><span class=\"dim\">{}</span><b>{}</b><span "
      "class=\"dim\">{}</span></div>\n",
      label, figure, note);
}

std::string bar(double share) {
  return fmt::format("<div class=\"bar\"><i style=\"width:{:.1f}%\"></i></div>",
                     100 * std::clamp(share, 0.0, 1.0));
}

// The first characters of a digest are enough for people; the whole is in the title.
std::string short_digest(const std::string& digest) {
  const size_t colon = digest.find(':');
  return fmt::format("<code title=\"{}\">{}</code>", escape(digest),
                     escape(digest.substr(0, colon + 13)));
}

std::string cards(const Status& status) {
  const double used = static_cast<double>(status.cache.blob_bytes + status.cache.reserved_bytes +
                                          status.cache.unlinked_bytes);
  const auto capacity = static_cast<double>(status.cache.capacity);
  std::string out = "<div class=\"cards\">\n";
  out += card("Hit ratio", human_percent(status.rate.hit_ratio),
              "of requests in the last minute; since the start " +
                  human_percent(hit_ratio(status.totals)) + ", of bytes " +
                  human_percent(byte_hit_ratio(status.totals)));
  out += card("To clients", human_bytes(status.rate.sent_bytes) + "/s",
              fmt::format("{:.1f} requests/s", status.rate.requests));
  out += card("From upstreams", human_bytes(status.rate.received_bytes) + "/s",
              fmt::format("{} fills now", status.fills.size()));
  out += card("Cache", capacity > 0 ? human_percent(used / capacity) : "0 %",
              human_bytes(used) + " of " + human_bytes(capacity) +
                  (capacity > 0 ? bar(used / capacity) : ""));
  out += card("Blobs", std::to_string(status.cache.blobs),
              fmt::format("{} evicted", status.cache.evicted));
  out += card("Connections", std::to_string(status.connections),
              fmt::format("{} requests now", status.serving.size()));
  return out + "</div>\n";
}

std::string fills(const Status& status) {
  std::string out = "<h2>Fills</h2>\n<div class=\"scroll\">";
  if (status.fills.empty()) return out + "<p class=\"none\">Nothing is being fetched.</p></div>\n";
  out +=
      "<table><tr><th>Digest</th><th>Repository</th><th></th><th class=\"n\">Stored</th>"
      "<th class=\"n\">Size</th><th class=\"n\">Rate</th><th class=\"n\">For</th></tr>\n";
  for (const FillStatus& fill : status.fills) {
    const auto stored = static_cast<double>(fill.stored);
    const auto size = static_cast<double>(fill.size);
    out += fmt::format(
        "<tr><td>{}</td><td>{} <span class=\"dim\">{}</span></td><td>{}</td><td "
        "class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}/s</td><td "
        "class=\"n\">{}</td></tr>\n",
        short_digest(fill.digest), escape(fill.repository), escape(fill.upstream),
        bar(size > 0 ? stored / size : 0), human_bytes(stored),
        fill.size > 0 ? human_bytes(size) : "?",
        human_bytes(fill.seconds > 0 ? stored / fill.seconds : 0), human_time(fill.seconds));
  }
  return out + "</table></div>\n";
}

std::string serving(const Status& status) {
  std::string out = "<h2>Being served</h2>\n<div class=\"scroll\">";
  if (status.serving.empty()) return out + "<p class=\"none\">No request is open.</p></div>\n";
  out +=
      "<table><tr><th>Client</th><th>Request</th><th class=\"n\">Sent</th>"
      "<th class=\"n\">Rate</th><th class=\"n\">For</th></tr>\n";
  for (const Activity::Serving& each : status.serving) {
    const auto bytes = static_cast<double>(each.bytes);
    out += fmt::format(
        "<tr><td>{}</td><td><code>{} {}</code></td><td class=\"n\">{}</td><td "
        "class=\"n\">{}/s</td><td class=\"n\">{}</td></tr>\n",
        escape(each.client), escape(each.method), escape(each.path), human_bytes(bytes),
        human_bytes(each.seconds > 0 ? bytes / each.seconds : 0), human_time(each.seconds));
  }
  return out + "</table></div>\n";
}

// What is the matter with a URL, if anything is.
std::string condition(const UrlStatus& url) {
  const auto left = [](base::Duration duration) {
    return human_time(std::chrono::duration<double>(duration).count());
  };
  if (url.ejected_for) return "left out for " + left(*url.ejected_for);
  if (url.throttled_for) return "throttled for " + left(*url.throttled_for);
  return "";
}

// The slowest first.
std::string upstreams(const Status& status) {
  struct Row {
    const UpstreamStatus* upstream;
    const UrlStatus* url;
  };
  std::vector<Row> rows;
  for (const UpstreamStatus& upstream : status.upstreams) {
    for (const UrlStatus& url : upstream.urls) rows.push_back({&upstream, &url});
  }
  std::ranges::sort(rows, {}, [](const Row& row) {
    return std::pair(-first_byte_seconds(*row.url), std::string_view(row.url->url));
  });
  std::string out =
      "<h2>Upstreams, the slowest first</h2>\n<div class=\"scroll\"><table><tr><th>Name</th>"
      "<th>URL</th><th class=\"n\">First byte</th><th class=\"n\">Requests</th>"
      "<th class=\"n\">Failed</th><th class=\"n\">Received</th><th class=\"n\">Held</th>"
      "<th></th></tr>\n";
  for (const auto& [upstream, url] : rows) {
    const cache::AccountStats held = status.cache.account(upstream->name);
    std::string bytes = human_bytes(static_cast<double>(held.bytes));
    if (held.quota) bytes += " of " + human_bytes(static_cast<double>(*held.quota));
    out += fmt::format(
        "<tr><td>{}</td><td><code>{}</code></td><td class=\"n\">{:.0f} ms</td><td "
        "class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td "
        "class=\"n\">{}</td><td class=\"bad\" title=\"{}\">{}</td></tr>\n",
        escape(upstream->name), escape(url->url), 1000 * first_byte_seconds(*url), url->requests,
        failures(*url), human_bytes(static_cast<double>(url->bytes)), bytes,
        escape(url->last_error), condition(*url));
  }
  return out + "</table></div>\n";
}

}  // namespace

std::string human_bytes(double bytes) {
  constexpr std::array<std::string_view, 6> units = {"B", "kB", "MB", "GB", "TB", "PB"};
  size_t unit = 0;
  while (bytes >= 999.5 && unit + 1 < units.size()) {
    bytes /= 1000;
    ++unit;
  }
  if (unit == 0 || bytes >= 99.95) return fmt::format("{:.0f} {}", bytes, units[unit]);
  return fmt::format("{:.{}f} {}", bytes, bytes >= 9.995 ? 1 : 2, units[unit]);
}

std::string human_percent(double ratio) { return fmt::format("{:.1f} %", 100 * ratio); }

std::string human_time(double seconds) {
  if (seconds < 9.95) return fmt::format("{:.1f}s", seconds);
  const auto whole = static_cast<int64_t>(std::lround(seconds));
  if (whole < 60) return fmt::format("{}s", whole);
  if (whole < 3600) return fmt::format("{}m {:02}s", whole / 60, whole % 60);
  if (whole < 86400) return fmt::format("{}h {:02}m", whole / 3600, whole % 3600 / 60);
  return fmt::format("{}d {}h", whole / 86400, whole % 86400 / 3600);
}

std::string status_page(const Status& status) {
  std::string page(kHead);
  page += fmt::format("<title>{0}</title></head>\n<body><header><h1>{0}</h1>", escape(status.name));
  page += fmt::format("<span class=\"dim\">entrepot-edge {}, up {}</span>", escape(status.version),
                      human_time(status.uptime_seconds));
  if (status.totals.failed > 0) {
    page += fmt::format("<span class=\"bad\">failed requests: {}</span>", status.totals.failed);
  }
  if (status.cache.read_only) page += "<span class=\"bad\">the disk takes no writes</span>";
  if (!status.cache.complete) page += "<span class=\"bad\">the index is being made anew</span>";
  page += "</header>\n<main>\n" + cards(status) + fills(status) + serving(status) +
          upstreams(status) + "</main></body></html>\n";
  return page;
}

}  // namespace proxy
