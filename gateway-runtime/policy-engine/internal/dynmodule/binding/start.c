//go:build inenvoy

// The bootstrap extension: Envoy starts with the engine, and ends with it.

#define _GNU_SOURCE // SCHED_BATCH

#include <dirent.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "_cgo_export.h"

const char *HOOK(program_init)(void) { return ABI_VERSION; }

static int extension;

// The engine runs when this returns: before Envoy asks for its configuration, whose server it is. NULL: Envoy does not
// start.
const void *HOOK(bootstrap_extension_config_new)(void *config, text name, text arguments) {
  (void)name;
  if (!CALLBACK(is_validation_mode)()) {
    char *error = gatewrightStart((char *)arguments.at, arguments.length, CALLBACK(get_concurrency)());
    if (error) {
      CALLBACK(log)(LEVEL_CRITICAL, (text){error, strlen(error)});
      free(error);
      return NULL;
    }
    batch_threads();
  }
  CALLBACK(bootstrap_extension_config_signal_init_complete)(config);
  return &extension;
}

const void *HOOK(bootstrap_extension_new)(const void *config, void *envoy) {
  (void)config, (void)envoy;
  return &extension;
}

void HOOK(bootstrap_extension_shutdown)(void *envoy, const void *module, void (*done)(void *), void *context) {
  (void)envoy, (void)module;
  gatewrightStop();
  if (done) done(context);
}

// ---------------------------------------------------------------- threads

// The threads of the process before the Go runtime has made its own.
enum { MOST_THREADS = 256 };
static pid_t before[MOST_THREADS];
static int before_count;

static void each_thread(void (*call)(pid_t)) {
  DIR *tasks = opendir("/proc/self/task");
  if (!tasks) return;
  for (struct dirent *entry; (entry = readdir(tasks));) {
    pid_t thread = (pid_t)atol(entry->d_name);
    if (thread > 0) call(thread);
  }
  closedir(tasks);
}

static void remember(pid_t thread) {
  if (before_count < MOST_THREADS) before[before_count++] = thread;
}

// The constructors of a library run by their priorities; that of the Go runtime has none, and is the last.
__attribute__((constructor(101))) static void remember_threads(void) { each_thread(remember); }

static void batch(pid_t thread) {
  for (int n = 0; n < before_count; n++) {
    if (before[n] == thread) return;
  }
  struct sched_param none = {0};
  sched_setscheduler(thread, SCHED_BATCH, &none);
}

// A thread that wakes up in SCHED_BATCH does not take the core of the one that runs: a goroutine that a worker of Envoy's
// has woken waits until the worker has nothing to do. Threads that the Go runtime makes later inherit this from those that
// make them.
void batch_threads(void) {
  if (before_count < MOST_THREADS) each_thread(batch);
}
