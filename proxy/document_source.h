// The body of a manifest or a list: from the store, as a blob's, so that it costs no memory however
// slowly it is read; and where its copy proves bad, as the upstream gives it anew.
#pragma once

#include <string>

#include "http/content.h"
#include "proxy/documents.h"

namespace proxy {

// One per response. Throws http::ConnectionError if the copy is bad and there is no other.
class DocumentSource : public http::ContentSource {
 public:
  // Around the document come these texts.
  DocumentSource(Documents& documents, DocumentName name, Document document,
                 std::string before = "", std::string after = "")
      : documents_(documents),
        name_(std::move(name)),
        document_(std::move(document)),
        before_(std::move(before)),
        after_(std::move(after)) {}

  uint64_t size() const { return before_.size() + document_.size() + after_.size(); }
  base::Task<void> send(http::ResponseWriter& response, uint64_t offset, uint64_t length) override;

 private:
  base::Task<void> send_document(http::ResponseWriter& response, uint64_t offset, uint64_t length);
  base::Task<void> replace();

  Documents& documents_;
  const DocumentName name_;
  Document document_;
  const std::string before_;
  const std::string after_;
  bool replaced_ = false;
};

}  // namespace proxy
