// IoError: an operation on a file, socket or database failed, so this request cannot go on.
// Carries errno and a sentence for the operator. Caught where a request or a command begins.
#pragma once

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>

namespace base {

class IoError : public std::runtime_error {
 public:
  IoError(int number, const std::string& what)
      : std::runtime_error(what + ": " + std::strerror(number)), number_(number) {}
  // With the errno of the call that has just failed.
  explicit IoError(const std::string& what) : IoError(errno, what) {}
  int number() const { return number_; }

 private:
  int number_;
};

// A file, or a part of it, is not to be had, because the disk, the file system or the server has
// lost or spoilt it: the fault is the file's, not the process's or a socket's.
inline bool is_file_error(int number) {
  return number == EIO || number == EBADMSG || number == EUCLEAN || number == ENODATA ||
         number == ESTALE;
}

}  // namespace base
