// A process that was forked from one with threads must not wait for them: they stayed behind, and OpenMP's runtime does
// not notice. There the ops run on the caller alone, with the same results, as chunks do not depend on the threads.
#pragma once

#include <dirent.h>
#include <pthread.h>

namespace gnas {

inline bool threads_stayed_behind = false;

namespace fork_detail {

inline bool had_threads = false;

// Entries of /proc/self/task beside "." and ".."; where there is no such folder, threads are taken for granted.
inline void before_fork() {
  int entries = 0;
  DIR* tasks = opendir("/proc/self/task");
  while (tasks != nullptr && readdir(tasks) != nullptr) ++entries;
  if (tasks != nullptr) closedir(tasks);
  had_threads = tasks == nullptr || entries > 3;
}

inline void in_child() { threads_stayed_behind = threads_stayed_behind || had_threads; }

inline const int registered = pthread_atfork(before_fork, nullptr, in_child);

}  // namespace fork_detail
}  // namespace gnas
