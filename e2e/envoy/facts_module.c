// A dynamic module that does what a request's header x-script says, and writes each hook that Envoy calls to the file
// FACTS_LOG: a line "ID FILTER HOOK", with the request's x-id. test_facts_module.py compiles it and says what the words do.
// The declarations are those of Envoy 1.40 (source/extensions/dynamic_modules/abi/abi.h).
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef ABI_VERSION
#define ABI_VERSION "v0.2.0"
#endif
#ifndef BUILD
#define BUILD "first"
#endif
#define HOOK(name) envoy_dynamic_module_on_##name
#define CALL(name) envoy_dynamic_module_callback_##name

typedef struct {
  const char *at;
  size_t length;
} text;

enum { REQUEST = 0, RESPONSE = 2 };                    // maps of headers
enum { BUFFERED_REQUEST = 1 };                         // bodies
enum { CONTINUE = 0, STOP_ALL_AND_WATERMARK = 4 };     // what a hook of headers returns
enum { GO_ON = 1, APPEND = 2, ANSWER = 3, REMOVE = 4 }; // events

bool CALL(http_get_header)(void *, int map, text name, text *value, size_t index, size_t *count);
bool CALL(http_set_header)(void *, int map, text name, text value);
bool CALL(http_add_header)(void *, int map, text name, text value);
void CALL(http_send_response)(void *, uint32_t status, void *headers, size_t count, text body, text details);
size_t CALL(http_get_body_size)(void *, int body);
bool CALL(http_append_body)(void *, int body, text piece);
void *CALL(http_filter_scheduler_new)(void *);
void CALL(http_filter_scheduler_commit)(void *, uint64_t event);
void CALL(http_filter_continue_decoding)(void *);
void CALL(http_filter_continue_encoding)(void *);
void CALL(bootstrap_extension_config_signal_init_complete)(void *);

typedef struct {
  void *envoy;
  const char *name;
  char id[32], script[128];
  bool in_response;
} filter;

// ---------------------------------------------------------------- the log, and what a request says

static void note(const char *id, const char *name, const char *what) {
  char line[256];
  int length = snprintf(line, sizeof line, "%s %s %s\n", *id ? id : "-", name, what);
  int file = open(getenv("FACTS_LOG"), O_WRONLY | O_APPEND | O_CREAT, 0600);
  if (file < 0 || write(file, line, (size_t)length) != length) abort();
  close(file);
}

static text of(const char *words) { return (text){words, strlen(words)}; }

static void read_header(void *envoy, const char *name, char *into, size_t room) {
  text value = {0};
  *into = 0;
  if (CALL(http_get_header)(envoy, REQUEST, of(name), &value, 0, NULL) && value.length < room) {
    memcpy(into, value.at, value.length);
    into[value.length] = 0;
  }
}

static void begin(filter *f, void *envoy, const char *hook) {
  f->envoy = envoy;
  read_header(envoy, "x-id", f->id, sizeof f->id);
  read_header(envoy, "x-script", f->script, sizeof f->script);
  note(f->id, f->name, hook);
}

static bool says(filter *f, const char *word) { return strstr(f->script, word) != NULL; }

// ---------------------------------------------------------------- streams that are held, and who releases them

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct held {
  char id[32];
  void *scheduler;
  uint64_t event;
} held[64];
static int held_count;

static void hold(filter *f) {
  pthread_mutex_lock(&mutex);
  struct held *place = &held[held_count++ % 64];
  strcpy(place->id, f->id);
  place->scheduler = CALL(http_filter_scheduler_new)(f->envoy);
  pthread_mutex_unlock(&mutex);
}

static void *commit(void *argument) {
  struct held *place = argument;
  CALL(http_filter_scheduler_commit)(place->scheduler, place->event);
  return NULL;
}

// send_event has a thread that Envoy does not know commit an event to a stream, which may be gone by then.
static void send_event(filter *f) {
  char id[32];
  read_header(f->envoy, "x-of", id, sizeof id);
  pthread_mutex_lock(&mutex);
  for (int n = 0; n < held_count && n < 64; n++) {
    if (strcmp(held[n].id, id)) continue;
    held[n].event = says(f, "append") ? APPEND : says(f, "reject") ? ANSWER : GO_ON;
    pthread_t thread;
    pthread_create(&thread, NULL, commit, &held[n]);
    pthread_join(thread, NULL);
  }
  pthread_mutex_unlock(&mutex);
}

// ---------------------------------------------------------------- hooks of the HTTP filter

const char *HOOK(program_init)(void) { return ABI_VERSION; }

const void *HOOK(http_filter_config_new)(void *envoy, text name, text config) {
  (void)envoy, (void)config;
  return name.length == 4 && !memcmp(name.at, "none", 4) ? NULL : strndup(name.at, name.length);
}

const void *HOOK(http_filter_per_route_config_new)(text name, text config) {
  (void)name, (void)config;
  return "";
}

const void *HOOK(http_filter_new)(const void *config, void *envoy) {
  filter *f = calloc(1, sizeof *f);
  f->name = config;
  begin(f, envoy, "new");
  return f;
}

void HOOK(http_filter_destroy)(void *module) {
  filter *f = module;
  note(f->id, f->name, "destroy");
  free(f);
}

static void answer(filter *f) { CALL(http_send_response)(f->envoy, 403, NULL, 0, of("denied"), of("facts_denied")); }

int HOOK(http_filter_request_headers)(void *envoy, void *module, bool end) {
  filter *f = module;
  begin(f, envoy, end ? "request_headers end" : "request_headers");
  if (says(f, "set-empty")) CALL(http_set_header)(envoy, REQUEST, of("x-empty"), of(""));
  if (says(f, "add-empty")) CALL(http_add_header)(envoy, REQUEST, of("x-empty"), of(""));
  if (says(f, "send")) send_event(f);
  if (says(f, "answer")) answer(f);
  if (!says(f, "hold-request")) return says(f, "answer") ? 1 : CONTINUE;
  hold(f);
  return STOP_ALL_AND_WATERMARK;
}

int HOOK(http_filter_request_body)(void *envoy, void *module, bool end) {
  begin(module, envoy, end ? "request_body end" : "request_body");
  return CONTINUE;
}

int HOOK(http_filter_request_trailers)(void *envoy, void *module) {
  begin(module, envoy, "request_trailers");
  return CONTINUE;
}

int HOOK(http_filter_response_headers)(void *envoy, void *module, bool end) {
  filter *f = module;
  begin(f, envoy, end ? "response_headers end" : "response_headers");
  CALL(http_set_header)(envoy, RESPONSE, of("x-build"), of(BUILD));
  if (!says(f, "hold-response")) return CONTINUE;
  f->in_response = true;
  hold(f);
  return STOP_ALL_AND_WATERMARK;
}

int HOOK(http_filter_response_body)(void *envoy, void *module, bool end) {
  begin(module, envoy, end ? "response_body end" : "response_body");
  return CONTINUE;
}

int HOOK(http_filter_response_trailers)(void *envoy, void *module) {
  begin(module, envoy, "response_trailers");
  return CONTINUE;
}

void HOOK(http_filter_scheduled)(void *envoy, void *module, uint64_t event) {
  filter *f = module;
  begin(f, envoy, "scheduled");
  if (event == APPEND && CALL(http_append_body)(envoy, BUFFERED_REQUEST, of("+"))) note(f->id, f->name, "appended");
  if (event == ANSWER) answer(f);
  if (event != GO_ON) return;
  if (f->in_response) {
    CALL(http_filter_continue_encoding)(envoy);
  } else {
    CALL(http_filter_continue_decoding)(envoy);
  }
}

void HOOK(http_filter_stream_complete)(void *envoy, void *module) { begin(module, envoy, "complete"); }

int HOOK(http_filter_local_reply)(void *envoy, void *module, uint32_t status, text details, bool reset) {
  (void)status, (void)details, (void)reset;
  begin(module, envoy, "local_reply");
  return CONTINUE;
}

void HOOK(http_filter_downstream_above_write_buffer_high_watermark)(void *envoy, void *module) { begin(module, envoy, "above"); }
void HOOK(http_filter_downstream_below_write_buffer_low_watermark)(void *envoy, void *module) { begin(module, envoy, "below"); }

// ---------------------------------------------------------------- hooks of the bootstrap extension

// Envoy's xDS server listens once this returns; "none": the extension cannot start.
const void *HOOK(bootstrap_extension_config_new)(void *envoy, text name, text config) {
  (void)name;
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (config.length == 4 && !memcmp(config.at, "none", 4)) return NULL;
  if (config.length >= sizeof address.sun_path) abort();
  memcpy(address.sun_path, config.at, config.length);
  int server = socket(AF_UNIX, SOCK_STREAM, 0);
  if (bind(server, (struct sockaddr *)&address, sizeof address) || listen(server, 8)) abort();
  CALL(bootstrap_extension_config_signal_init_complete)(envoy);
  return "";
}

const void *HOOK(bootstrap_extension_new)(const void *config, void *envoy) {
  (void)envoy;
  return config;
}

void HOOK(bootstrap_extension_shutdown)(void *envoy, void *module, void (*done)(void *), void *context) {
  (void)envoy, (void)module;
  if (done) done(context);
}

// ---------------------------------------------------------------- hooks that have nothing to do

#define NOTHING(name) \
  int HOOK(name)(void) { return 0; }
NOTHING(http_filter_config_destroy)
NOTHING(http_filter_per_route_config_destroy)
NOTHING(http_filter_http_callout_done)
NOTHING(http_filter_http_stream_headers)
NOTHING(http_filter_http_stream_data)
NOTHING(http_filter_http_stream_trailers)
NOTHING(http_filter_http_stream_complete)
NOTHING(http_filter_http_stream_reset)
NOTHING(http_filter_config_scheduled)
NOTHING(http_filter_config_http_callout_done)
NOTHING(http_filter_config_http_stream_headers)
NOTHING(http_filter_config_http_stream_data)
NOTHING(http_filter_config_http_stream_trailers)
NOTHING(http_filter_config_http_stream_complete)
NOTHING(http_filter_config_http_stream_reset)
NOTHING(bootstrap_extension_server_initialized)
NOTHING(bootstrap_extension_worker_thread_initialized)
NOTHING(bootstrap_extension_drain_started)
NOTHING(bootstrap_extension_destroy)
NOTHING(bootstrap_extension_config_destroy)
NOTHING(bootstrap_extension_config_scheduled)
NOTHING(bootstrap_extension_http_callout_done)
NOTHING(bootstrap_extension_timer_fired)
NOTHING(bootstrap_extension_file_changed)
NOTHING(bootstrap_extension_admin_request)
NOTHING(bootstrap_extension_cluster_add_or_update)
NOTHING(bootstrap_extension_cluster_removal)
NOTHING(bootstrap_extension_listener_add_or_update)
NOTHING(bootstrap_extension_listener_removal)
