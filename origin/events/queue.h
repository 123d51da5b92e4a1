// EventQueue: the events that an endpoint has still to be told, on local disk, so that neither a
// restart nor a kill of the process loses one. First in, first out.
//
// The directory has "lock", held by the one process that uses it, and "journal": records of a
// length, a checksum and the event's text, where an empty record says that the oldest event is
// done. The start reads it up to the first record that is not whole. It is emptied when no event is
// left, and written anew when most of it is of the past.
//
// What is flushed survives a kill of the process, what is synced a crash of the host. A disk that
// fails loses events, which is logged and counted, and never fails what the event is about. More
// than the limit pushes the oldest out.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"

namespace origin {

// Thread-safe. All but add(), pending() and dropped() block: run them on the pool.
class EventQueue {
 public:
  struct Entry {
    uint64_t number = 0;  // counted from the first in this process
    std::string event;
  };

  // Makes the directory if need be. IoError if it cannot be used, EWOULDBLOCK if another process
  // uses it. `limit` is in bytes of events.
  EventQueue(std::filesystem::path directory, uint64_t limit);

  // Takes the event, which is not empty, into memory. It is on disk after the next flush().
  void add(std::string event);
  void flush();
  // Flushes, and makes the journal survive a crash of the host.
  void sync();

  // The oldest event, or nullopt if there is none.
  std::optional<Entry> front();
  // That entry is done, and the next is the oldest; nothing if it has been pushed out meanwhile.
  void done(uint64_t number);

  // Events that wait, and that were lost.
  uint64_t pending() const { return waiting_; }
  uint64_t dropped() const { return dropped_; }

 private:
  struct Record {
    uint64_t offset = 0;  // of the text in the journal
    uint32_t length = 0;
  };

  std::filesystem::path journal_path() const { return directory_ / "journal"; }
  void lock();
  void open_journal();
  std::optional<std::string> read(const Record& record) const;
  void flush_added();
  void write(const std::vector<std::string>& events);
  void forget_oldest();
  void remember_done(uint64_t count);
  void compact();
  void lost(uint64_t count, const std::string& why);

  const std::filesystem::path directory_;
  const uint64_t limit_;
  base::UniqueFd lock_;
  std::atomic<uint64_t> waiting_ = 0;
  std::atomic<uint64_t> dropped_ = 0;

  // Never held while waiting for the disk.
  std::mutex adding_mutex_;
  std::vector<std::string> added_;  // guarded by adding_mutex_
  uint64_t added_bytes_ = 0;        // guarded by adding_mutex_

  std::mutex journal_mutex_;  // guards what follows; taken before adding_mutex_
  base::UniqueFd journal_;
  uint64_t end_ = 0;            // of the journal's last whole record
  std::deque<Record> records_;  // the events that wait
  uint64_t first_ = 0;          // the first one's number
  uint64_t bytes_ = 0;          // of their records
  bool unsynced_ = false;
};

}  // namespace origin
