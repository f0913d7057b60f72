/* What file systems may say, for those that nobody has at hand: loaded before the C library (LD_PRELOAD).

   FAULTS is a list such as "flock=95 fsync_folder=22": calls on files under FAULTS_UNDER fail with these
   numbers of errno.h. Calls: flock, fcntl (locks), fsync_file, fsync_folder, rename (all), rename_over (what
   is there), link, write. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int is_under(const char *path) {
  const char *under = getenv("FAULTS_UNDER");
  char whole[PATH_MAX] = "";
  if (!under) return 0;
  if (path[0] != '/') {
    if (!getcwd(whole, sizeof whole - 1)) return 0;
    strcat(whole, "/");
  }
  strncat(whole, path, sizeof whole - strlen(whole) - 1);
  return strncmp(whole, under, strlen(under)) == 0;
}

static int is_open_under(int file) {
  char link[64], path[PATH_MAX] = "";
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  return readlink(link, path, sizeof path - 1) > 0 && is_under(path);
}

static int fails(const char *call) {
  const char *faults = getenv("FAULTS");
  size_t length = strlen(call);
  for (const char *at = faults; at && (at = strstr(at, call)); at += length)
    if ((at == faults || at[-1] == ' ') && at[length] == '=') {
      errno = atoi(at + length + 1);
      return 1;
    }
  return 0;
}

int flock(int file, int operation) {
  return is_open_under(file) && fails("flock") ? -1 : REAL(flock)(file, operation);
}

static int locks(int file, int command) {
  int is_lock = command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK || command == F_OFD_SETLKW;
  return is_lock && is_open_under(file) && fails("fcntl");
}

int fcntl(int file, int command, ...) {
  va_list more;
  va_start(more, command);
  void *argument = va_arg(more, void *);
  va_end(more);
  return locks(file, command) ? -1 : REAL(fcntl)(file, command, argument);
}

int fcntl64(int file, int command, ...) {
  va_list more;
  va_start(more, command);
  void *argument = va_arg(more, void *);
  va_end(more);
  return locks(file, command) ? -1 : REAL(fcntl64)(file, command, argument);
}

int fsync(int file) {
  struct stat status;
  int is_folder = fstat(file, &status) == 0 && S_ISDIR(status.st_mode);
  return is_open_under(file) && fails(is_folder ? "fsync_folder" : "fsync_file") ? -1 : REAL(fsync)(file);
}

int fdatasync(int file) { return fsync(file); }

static int moves(const char *new_path) {
  struct stat status;
  return is_under(new_path) && (fails("rename") || (lstat(new_path, &status) == 0 && fails("rename_over")));
}

int rename(const char *old_path, const char *new_path) {
  return moves(new_path) ? -1 : REAL(rename)(old_path, new_path);
}

int renameat(int old_folder, const char *old_path, int new_folder, const char *new_path) {
  return moves(new_path) ? -1 : REAL(renameat)(old_folder, old_path, new_folder, new_path);
}

int link(const char *old_path, const char *new_path) {
  return is_under(new_path) && fails("link") ? -1 : REAL(link)(old_path, new_path);
}

int linkat(int old_folder, const char *old_path, int new_folder, const char *new_path, int flags) {
  return is_under(new_path) && fails("link") ? -1 : REAL(linkat)(old_folder, old_path, new_folder, new_path, flags);
}
