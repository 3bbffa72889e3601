//go:build inenvoy

// The hooks that Envoy calls for each HTTP stream. They hand Go the head of a request or a response, and apply what comes
// back when Go has returned: so Go is never below Envoy on the stack, and a coroutine of a stream is always resumed with
// the same locks of its thread.

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "_cgo_export.h"

enum { FAILS_OPEN = 2 }; // a flag in the pointer of a route's configuration, which is no pointer

enum { UNAVAILABLE = 14 }; // the status of gRPC

static const text FAILED = {"ext_proc_error_gRPC_error_13", 28}; // the details of an ext_proc stream that failed

static __thread char *answers;
enum { ANSWERS = 16 << 10 };

static call begin_call(filter *f) {
  if (!answers && !(answers = malloc(ANSWERS))) abort();
  return (call){.filter = f->envoy, .stream = f->stream, .answers = answers, .capacity = ANSWERS};
}

static void end_call(call *c) {
  if (c->answers != answers) free(c->answers);
}

// leave ends a hook, and frees the filter that a hook within it has destroyed. It reports whether the filter lives.
static bool leave(filter *f) {
  f->depth--;
  if (!f->destroyed) return true;
  if (!f->depth) free(f);
  return false;
}

// fail ends the exchange with the answer of an engine that is not there.
static void fail(filter *f) {
  f->finished = true;
  header grpc;
  char digits[10];
  size_t count = add_grpc_status(f->envoy, UNAVAILABLE, &grpc, digits);
  CALLBACK(http_send_response)(f->envoy, 503, &grpc, count, (text){"", 0}, FAILED);
}

// outcome is what a hook does with the headers that it was called for.
typedef enum { GO_ON, PAUSE, ANSWERED } outcome;

// status_of is the status for Envoy. Behind headers that end the message, Envoy passes a body that is added later to the
// filters after this one only if this one has not stopped all iteration.
static headers_status status_of(outcome o, bool end) {
  if (o == GO_ON) return CONTINUE;
  return o == PAUSE && !end ? STOP_ALL_AND_WATERMARK : STOP_ITERATION;
}

// settle applies the answers of a call for the headers of one direction.
static outcome settle(filter *f, call *c, bool response) {
  f->stream = c->stream;
  f->finished = f->finished || c->ended;
  verdict v = apply_answers(f, c);
  end_call(c);
  if (v.immediate) {
    f->finished = true;
    return ANSWERED;
  }
  if (response ? v.response : v.request) return GO_ON;
  if (!c->ended) return PAUSE;
  if (!c->failed || f->fails_open) return GO_ON;
  fail(f);
  return ANSWERED;
}

// ---------------------------------------------------------------- configurations

static int configuration;

const void *HOOK(http_filter_config_new)(void *envoy, text name, text config) {
  (void)envoy, (void)name, (void)config;
  return &configuration;
}

void HOOK(http_filter_config_destroy)(const void *config) { (void)config; }

static bool has_word(text list, const char *word) {
  size_t length = strlen(word);
  for (size_t n = 0; n + length <= list.length; n++) {
    if (!memcmp(list.at + n, word, length)) return true;
  }
  return false;
}

// The configuration of a route: the word failure_mode_allow, or nothing.
const void *HOOK(http_filter_per_route_config_new)(text name, text config) {
  (void)name;
  return (const void *)(uintptr_t)(has_word(config, "failure_mode_allow") ? 1 | FAILS_OPEN : 1);
}

void HOOK(http_filter_per_route_config_destroy)(const void *config) { (void)config; }

// ---------------------------------------------------------------- the life of a stream

const void *HOOK(http_filter_new)(const void *config, void *envoy) {
  (void)config;
  filter *f = calloc(1, sizeof *f);
  if (!f) return NULL;
  f->envoy = envoy;
  f->thread = (uint64_t)pthread_self();
  return f;
}

void HOOK(http_filter_destroy)(const void *module) {
  filter *f = (filter *)module;
  if (f->stream) gatewrightDestroy(f->stream, f->thread == (uint64_t)pthread_self());
  f->stream = 0;
  f->finished = f->destroyed = true;
  free(f->replacement[0]);
  free(f->replacement[1]);
  f->replacement[0] = f->replacement[1] = NULL;
  if (!f->depth) free(f);
}

headers_status HOOK(http_filter_request_headers)(void *envoy, const void *module, bool end) {
  filter *f = (filter *)module;
  f->request_ended = end;
  f->envoy = envoy;
  if (f->finished || f->response_seen) return CONTINUE;
  f->fails_open = (uintptr_t)CALLBACK(get_most_specific_route_config)(envoy) & FAILS_OPEN;
  f->depth++;
  call c = begin_call(f);
  c.length = encode_head(envoy, REQUEST_HEADERS, end, &c.message);
  gatewrightRequest(&c);
  outcome o = settle(f, &c, false);
  bool lives = leave(f);
  if (lives) f->request_paused = o == PAUSE;
  return status_of(o, end);
}

headers_status HOOK(http_filter_response_headers)(void *envoy, const void *module, bool end) {
  filter *f = (filter *)module;
  f->envoy = envoy;
  f->response_seen = true;
  f->response_ended = end;
  f->request_paused = false; // a response of Envoy's own has taken the request's place
  if (f->finished) return CONTINUE;
  f->depth++;
  call c = begin_call(f);
  c.length = encode_head(envoy, RESPONSE_HEADERS, end, &c.message);
  gatewrightResponse(&c);
  outcome o = settle(f, &c, true);
  bool lives = leave(f);
  if (lives) f->response_paused = o == PAUSE;
  return status_of(o, end);
}

// A stream that runs in a goroutine has answered, or has ended.
void HOOK(http_filter_scheduled)(void *envoy, const void *module, uint64_t event) {
  (void)event;
  filter *f = (filter *)module;
  f->envoy = envoy;
  if (f->finished) return;
  f->depth++;
  call c = begin_call(f);
  gatewrightScheduled(&c);
  f->stream = c.stream;
  f->finished = c.ended;
  verdict v = apply_answers(f, &c);
  end_call(&c);
  if (v.immediate) {
    f->finished = true;
  } else if (c.failed && !f->fails_open) {
    if (!f->response_seen || f->response_paused) fail(f);
  } else {
    bool request = f->request_paused && (v.request || c.ended);
    bool response = f->response_paused && (v.response || c.ended);
    if (request) {
      f->request_paused = false;
      CALLBACK(http_filter_continue_decoding)(envoy);
    }
    if (response && !f->destroyed) {
      f->response_paused = false;
      CALLBACK(http_filter_continue_encoding)(envoy);
    }
  }
  leave(f);
}

// ---------------------------------------------------------------- bodies that policies replace

// replace_piece puts the new body in the place of the first piece of the old one, and drops the others.
static void replace_piece(filter *f, bool response) {
  if (!f->replaces[response]) return;
  body_kind kind = response ? RECEIVED_RESPONSE : RECEIVED_REQUEST;
  size_t size = CALLBACK(http_get_body_size)(f->envoy, kind);
  if (size) CALLBACK(http_drain_body)(f->envoy, kind, size);
  if (!f->replacement[response]) return;
  CALLBACK(http_append_body)(f->envoy, kind, (text){f->replacement[response], f->replacement_length[response]});
  free(f->replacement[response]);
  f->replacement[response] = NULL;
}

// replace_none puts the new body before trailers that no piece of the old one has come before.
static void replace_none(filter *f, bool response) {
  char *body = f->replacement[response];
  if (!body) return;
  f->replacement[response] = NULL;
  f->replaces[response] = false; // a hook within the call gets the new body
  CALLBACK(http_append_body)(f->envoy, response ? BUFFERED_RESPONSE : BUFFERED_REQUEST,
                             (text){body, f->replacement_length[response]});
  free(body);
}

int HOOK(http_filter_request_body)(void *envoy, const void *module, bool end) {
  (void)envoy, (void)end;
  replace_piece((filter *)module, false);
  return CONTINUE;
}

int HOOK(http_filter_response_body)(void *envoy, const void *module, bool end) {
  (void)envoy, (void)end;
  replace_piece((filter *)module, true);
  return CONTINUE;
}

int HOOK(http_filter_request_trailers)(void *envoy, const void *module) {
  (void)envoy;
  replace_none((filter *)module, false);
  return CONTINUE;
}

int HOOK(http_filter_response_trailers)(void *envoy, const void *module) {
  (void)envoy;
  replace_none((filter *)module, true);
  return CONTINUE;
}
