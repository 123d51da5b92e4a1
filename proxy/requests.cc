#include "proxy/requests.h"

#include <glog/logging.h>

#include <algorithm>
#include <chrono>

#include "base/base64.h"
#include "base/event_loop.h"
#include "base/unix_time.h"
#include "http/challenge.h"
#include "http/retry_after.h"
#include "oci/name.h"

namespace proxy {
namespace {

// What a 429 without Retry-After is taken for.
constexpr auto kShortRest = std::chrono::seconds(1);
constexpr uint64_t kSmall = 64 << 10;
// Longer is not worth the connection.
constexpr auto kMostToFinish = std::chrono::seconds(1);
constexpr size_t kMostTokenBytes = 256 << 10;

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// Never what a challenge asks for: no upstream makes us ask for more than this.
std::string scope_of(std::string_view target) {
  const oci::Route route = oci::parse_route(target.substr(0, target.find('?')));
  return std::visit(
      [](const auto& each) -> std::string {
        if constexpr (requires { each.repository; }) {
          return "repository:" + each.repository + ":pull";
        }
        return "";
      },
      route);
}

// Reads what is left of an answer that is of no use, if that is not much and comes soon, so that
// its connection can be used again.
base::Task<void> finish(std::unique_ptr<http::ClientResponse> response) {
  if (response->content_length().value_or(kSmall + 1) > kSmall) co_return;
  base::EventLoop& loop = *base::EventLoop::current();
  const base::TimePoint end = loop.after(kMostToFinish);
  try {
    while (true) {
      co_await response->wait_for_end(std::max(end - loop.now(), base::Duration::zero()));
      const std::string_view bytes = co_await response->read();
      if (bytes.empty()) break;
    }
  } catch (const http::TransferError& e) {
    VLOG(1) << "an answer without use broke: " << e.what();
  }
}

std::string token_key(size_t url, const std::string& scope) {
  return std::to_string(url) + ' ' + scope;
}

}  // namespace

Failure failure_of(const http::TransferError& error) {
  switch (error.kind()) {
    case http::TransferError::Kind::unreachable:
      return Failure::unreachable;
    case http::TransferError::Kind::tls:
      return Failure::tls;
    case http::TransferError::Kind::timed_out:
      return Failure::timed_out;
    case http::TransferError::Kind::broken:
      break;
  }
  return Failure::broken;
}

Requests::Requests(base::EventLoop& loop, Upstream& upstream, std::string edge)
    : loop_(loop),
      upstream_(upstream),
      client_(loop, upstream.config().client),
      edge_(std::move(edge)) {
  for (const std::string& url : upstream.config().urls) {
    bases_.push_back(http::parse_url(url).value_or(http::Url{.text = url}));
  }
}

void Requests::abort() {
  upstream_.stop();
  client_.abort();
}

Ending Requests::failed(size_t url, Failure failure, const std::string& why) {
  upstream_.health().failed(url, failure, why, loop_.now());
  return {Outcome::unreachable, base(url) + ": " + why, ""};
}

http::ClientRequest Requests::request(const Question& question, std::string where) const {
  http::ClientRequest request;
  request.method = question.method;
  request.url = std::move(where);
  request.headers = question.headers;
  request.headers.set("Via", "1.1 " + edge_);
  // RFC 8586: whom the request has passed, so that it does not come round.
  const std::string passed = question.headers.joined("CDN-Loop");
  request.headers.set("CDN-Loop", passed.empty() ? edge_ : passed + ", " + edge_);
  return request;
}

base::Task<std::variant<Reply, Ending>> Requests::send(size_t url, std::string method,
                                                       std::string target, http::Headers headers,
                                                       bool resumes) {
  const UpstreamConfig& config = upstream_.config();
  RequestSlots& slots = upstream_.slots();
  base::Task<std::optional<Slot>> turn =
      resumes ? slots.take_first() : slots.take(loop_.after(config.queue_timeout));
  std::optional<Slot> slot = co_await std::move(turn);
  if (!slot) {
    co_return Ending{Outcome::busy, config.name + ": too many requests wait for a slot", ""};
  }
  if (!config.ns.empty()) {
    target.append(target.contains('?') ? "&ns=" : "?ns=").append(http::percent_encode(config.ns));
  }
  const Question question{std::move(method), std::move(target), std::move(headers)};
  Fetched answer = co_await ask(url, question);
  if (auto* ending = std::get_if<Ending>(&answer)) co_return std::move(*ending);
  co_return Reply{std::get<Response>(std::move(answer)), std::move(*slot)};
}

base::Task<Requests::Fetched> Requests::fetch(size_t url, http::ClientRequest request) {
  const base::TimePoint began = loop_.now();
  upstream_.health().asked(url);
  Response response;
  std::optional<http::TransferError> error;
  try {
    response = co_await client_.fetch(std::move(request));
  } catch (const http::TransferError& e) {
    error = e;
  }
  if (error) co_return failed(url, failure_of(*error), error->what());
  upstream_.health().answered(url, loop_.now() - began);

  const int status = response->status();
  if (status != 429 && status < 500) co_return response;
  if (status == 508) {
    // Another time, the same: not a failure that a retry would mend.
    co_return Ending{Outcome::refused,
                     base(url) +
                         ": status 508: the request came back to an edge "
                         "that it had passed (is this edge its own upstream, or does the origin "
                         "redirect it to itself? see redirect.except there)",
                     ""};
  }
  const auto field = response->headers().get("Retry-After");
  std::optional<base::Duration> wait =
      http::parse_retry_after(field.value_or(""), base::unix_now());
  if (wait) wait = std::min(*wait, upstream_.config().retry_after_max);
  Ending ending{Outcome::throttled, base(url) + ": status " + std::to_string(status), ""};
  if (status == 429) {
    upstream_.health().throttle(url, wait.value_or(kShortRest), loop_.now());
  } else {
    ending = failed(url, Failure::status, "status " + std::to_string(status));
  }
  if (wait) {
    ending.retry_after = std::to_string(std::chrono::ceil<std::chrono::seconds>(*wait).count());
  }
  co_return ending;
}

// ---- redirects ------------------------------------------------------------------------------

base::Task<Requests::Fetched> Requests::ask(size_t url, const Question& question) {
  const std::string scope = scope_of(question.target);
  const http::Url& home = bases_[url];
  http::Url at = home;
  http::ClientRequest next = request(question, base(url) + question.target);
  for (int redirects = 0;; ++redirects) {
    base::Task<Fetched> step = at.origin() == home.origin()
                                   ? ask_with_credentials(url, std::move(next), scope)
                                   : fetch(url, std::move(next));
    Fetched answer = co_await std::move(step);
    auto* response = std::get_if<Response>(&answer);
    if (response == nullptr || !is_redirect((*response)->status())) co_return answer;

    const std::string location((*response)->headers().get("Location").value_or(""));
    co_await finish(std::move(*response));
    at.text = redirects == 0 ? base(url) + question.target : at.text;
    const std::optional<http::Url> to = http::resolve_url(at, location);
    std::string why;
    if (location.empty() || !to) {
      why = "a redirect without a Location that can be followed";
    } else if (redirects == kMostRedirects) {
      why = "more than " + std::to_string(kMostRedirects) + " redirects";
    } else {
      why = RedirectRules::refusal(at, *to);
    }
    if (!why.empty()) {
      co_return failed(url, Failure::broken, why + (to ? " to " + to->origin() : ""));
    }
    at = *to;
    next = request(question, at.text);
    if (at.origin() != home.origin()) {
      next.show_certificate = false;
      next.may_connect = [this, at](const std::string& address) {
        return upstream_.config().redirects.may_connect(at, address);
      };
    }
  }
}

// ---- credentials ----------------------------------------------------------------------------

std::string Requests::basic() const {
  const UpstreamConfig& config = upstream_.config();
  return "Basic " +
         base::encode_base64(config.username + ':' + config.password, base::Base64::standard);
}

std::string Requests::authorization(size_t url, const std::string& scope) const {
  const UpstreamConfig& config = upstream_.config();
  if (!config.bearer.empty()) return "Bearer " + config.bearer;
  if (upstream_.wants_basic(url)) return basic();
  const std::string token = upstream_.tokens().find(token_key(url, scope), loop_.now());
  return token.empty() ? "" : "Bearer " + token;
}

base::Task<Requests::Fetched> Requests::ask_with_credentials(size_t url,
                                                             http::ClientRequest request,
                                                             std::string scope) {
  std::string shown = authorization(url, scope);
  // The second attempt may find that a token which another request got has just expired.
  for (int attempt = 0;; ++attempt) {
    http::ClientRequest copy = request;
    if (!shown.empty()) copy.headers.set("Authorization", shown);
    Fetched answer = co_await fetch(url, std::move(copy));
    auto* response = std::get_if<Response>(&answer);
    const bool refused = response != nullptr && (*response)->status() == 401;
    if (!refused || attempt == 2 || !upstream_.config().bearer.empty()) co_return answer;
    std::string challenges = (*response)->headers().joined("WWW-Authenticate");
    co_await finish(std::move(*response));
    std::variant<std::string, Ending> obtained =
        co_await obtain(url, scope, std::move(challenges), shown);
    if (auto* ending = std::get_if<Ending>(&obtained)) co_return std::move(*ending);
    shown = std::get<std::string>(std::move(obtained));
  }
}

base::Task<std::variant<std::string, Ending>> Requests::obtain(size_t url, std::string scope,
                                                               std::string challenges,
                                                               std::string shown) {
  const UpstreamConfig& config = upstream_.config();
  std::optional<TokenRequest> asked;
  for (const http::Challenge& challenge : http::parse_challenges(challenges)) {
    if (challenge.scheme == "bearer" && !asked)
      asked = token_request(challenge, bases_[url], scope);
    if (challenge.scheme == "basic" && !config.username.empty() && shown != basic()) {
      upstream_.learn_basic(url);
      co_return basic();
    }
  }
  if (!asked) co_return Ending{Outcome::refused, base(url) + ": status 401", ""};

  constexpr std::string_view kBearer = "Bearer ";
  const std::string refused = shown.starts_with(kBearer) ? shown.substr(kBearer.size()) : "";
  const std::string key = token_key(url, scope);
  Tokens& tokens = upstream_.tokens();
  while (true) {
    const base::Signal::Ticket ticket = tokens.changed().ticket();
    Tokens::State state = tokens.look(key, refused, loop_.now());
    if (auto* token = std::get_if<std::string>(&state)) co_return "Bearer " + *token;
    if (auto* ending = std::get_if<Ending>(&state)) co_return std::move(*ending);
    if (std::holds_alternative<Tokens::Ask>(state)) break;
    co_await tokens.changed().wait(ticket);
  }
  std::variant<Token, Ending> got = co_await request_token(url, *asked);
  if (auto* ending = std::get_if<Ending>(&got)) {
    tokens.fail(key, *ending, loop_.now());
    co_return std::move(*ending);
  }
  const Token& token = std::get<Token>(got);
  tokens.put(key, token.text, loop_.after(token.lifetime));
  co_return "Bearer " + token.text;
}

base::Task<std::variant<Token, Ending>> Requests::request_token(size_t url, TokenRequest asked) {
  const UpstreamConfig& config = upstream_.config();
  const std::string realm = asked.realm.origin();
  const bool known = may_have_credentials(asked.realm, bases_[url], config.realm_hosts);
  if (!known && !config.username.empty()) {
    co_return Ending{Outcome::refused,
                     base(url) + ": wants a token from " + realm +
                         ", which is not of its domain; the password was not sent there (if it "
                         "may be, list the host in realm_hosts)",
                     ""};
  }
  http::ClientRequest request;
  request.url = asked.url;
  request.show_certificate = asked.realm.origin() == bases_[url].origin();
  if (!config.username.empty()) request.headers.set("Authorization", basic());
  if (!known) {
    request.may_connect = [this, to = asked.realm](const std::string& address) {
      return upstream_.config().redirects.may_connect(to, address);
    };
  }
  Fetched answer = co_await fetch(url, std::move(request));
  if (auto* ending = std::get_if<Ending>(&answer)) {
    ending->why += " (of " + realm + ", which was asked for a token)";
    co_return std::move(*ending);
  }
  http::ClientResponse& response = *std::get<Response>(answer);
  if (response.status() != 200) {
    co_return Ending{Outcome::refused,
                     realm + ": no token: status " + std::to_string(response.status()), ""};
  }
  std::string body;
  std::optional<http::TransferError> error;
  try {
    while (body.size() <= kMostTokenBytes) {
      const std::string_view bytes = co_await response.read();
      if (bytes.empty()) break;
      body += bytes;
    }
  } catch (const http::TransferError& e) {
    error = e;
  }
  if (error) co_return failed(url, failure_of(*error), realm + ": " + error->what());
  std::optional<Token> token;
  if (body.size() <= kMostTokenBytes) token = parse_token(body);
  if (!token) co_return failed(url, Failure::broken, realm + ": an answer without a token");
  co_return std::move(*token);
}

// ---- health ---------------------------------------------------------------------------------

base::Task<void> Requests::check(size_t url) {
  std::string why;
  Failure failure = Failure::status;
  try {
    const std::unique_ptr<http::ClientResponse> response =
        co_await client_.fetch(request({"GET", "", {}}, base(url) + "/v2/"));
    const int status = response->status();
    if (status == 200 || status == 401) {
      upstream_.health().succeeded(url);
      co_return;
    }
    why = "status " + std::to_string(status);
  } catch (const http::TransferError& e) {
    failure = failure_of(e);
    why = e.what();
  }
  upstream_.health().failed(url, failure, "health check: " + why, loop_.now());
}

}  // namespace proxy
