// A fake of Envoy and of Go around the hooks, for a compiler's sanitizers: any order of hooks on some filters, calls of Envoy
// that call hooks again and destroy their filter, and answers that are whole, cut off or damaged.
//
// fake_envoy SEED STEPS FILE: FILE has encoded answers, each behind its length in 4 bytes.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "_cgo_export.h"

enum { FILTERS = 4, MOST_ANSWERS = 256 };

const void *HOOK(http_filter_new)(const void *, void *);
void HOOK(http_filter_destroy)(const void *);
headers_status HOOK(http_filter_request_headers)(void *, const void *, bool);
headers_status HOOK(http_filter_response_headers)(void *, const void *, bool);
void HOOK(http_filter_scheduled)(void *, const void *, uint64_t);
int HOOK(http_filter_request_body)(void *, const void *, bool);
int HOOK(http_filter_response_body)(void *, const void *, bool);
int HOOK(http_filter_request_trailers)(void *, const void *);
int HOOK(http_filter_response_trailers)(void *, const void *);
const void *HOOK(http_filter_per_route_config_new)(text, text);

// fake is one filter of the fake Envoy's.
typedef struct {
  const void *module;  // NULL: destroyed
  int depth;
} fake;

static fake filters[FILTERS];
static text answers[MOST_ANSWERS];
static size_t answer_count;
static size_t live_streams;
static volatile unsigned read_bytes; // so that no read is left out

static uint64_t state;
static uint32_t draw(uint32_t below) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(state >> 33) % below;
}

static void use(text t) {
  for (size_t n = 0; n < t.length; n++) read_bytes += (unsigned char)t.at[n];
}

static void destroy(fake *f) {
  if (!f->module) return;
  const void *module = f->module;
  f->module = NULL;
  HOOK(http_filter_destroy)(module);
}

// reenter is what Envoy may do from within a call of the module's.
static void reenter(fake *f) {
  if (f->depth > 3) return;
  f->depth++;
  for (int n = 0; f->module && n < 3; n++) {
    switch (draw(8)) {
      case 0:
        destroy(f);
        break;
      case 1:
        HOOK(http_filter_response_headers)(f, f->module, draw(2));
        break;
      case 2:
        HOOK(http_filter_request_body)(f, f->module, draw(2));
        break;
      case 3:
        HOOK(http_filter_response_body)(f, f->module, draw(2));
        break;
      default:
        break;
    }
  }
  f->depth--;
}

// ---------------------------------------------------------------- Envoy

static char *exact(size_t length) { // memory whose end the sanitizer knows
  char *made = malloc(length ? length : 1);
  memset(made, 'a', length);
  return made;
}

static header lines[40];
static size_t line_count;

static void draw_headers(void) {
  for (size_t n = 0; n < line_count; n++) free((char *)lines[n].name), free((char *)lines[n].value);
  line_count = draw(40);
  for (size_t n = 0; n < line_count; n++) {
    size_t name = 1 + draw(20), value = draw(4) ? draw(200) : draw(20000);
    lines[n] = (header){exact(name), name, exact(value), value};
    if (!draw(10)) memcpy((char *)lines[n].name, "content-type", name < 12 ? name : 12);
  }
}

size_t CALLBACK(http_get_headers_size)(void *f, header_map map) {
  (void)f, (void)map;
  draw_headers();
  return line_count;
}
bool CALLBACK(http_get_headers)(void *f, header_map map, header *result) {
  (void)f, (void)map;
  memcpy(result, lines, line_count * sizeof *lines);
  return draw(50) != 0;
}
bool CALLBACK(http_add_header)(void *f, header_map map, text name, text value) {
  (void)f, (void)map;
  use(name), use(value);
  return true;
}
bool CALLBACK(http_set_header)(void *f, header_map map, text name, text value) {
  return CALLBACK(http_add_header)(f, map, name, value);
}
void CALLBACK(http_send_response)(void *f, uint32_t status, header *headers, size_t count, text body, text details) {
  (void)status;
  reenter(f);
  for (size_t n = 0; n < count; n++) {
    use((text){headers[n].name, headers[n].name_length});
    use((text){headers[n].value, headers[n].value_length});
  }
  use(body), use(details);
  reenter(f);
}
size_t CALLBACK(http_get_body_size)(void *f, body_kind kind) {
  (void)f, (void)kind;
  return draw(3) * 100;
}
bool CALLBACK(http_append_body)(void *f, body_kind kind, text data) {
  use(data);
  if (kind == BUFFERED_REQUEST || kind == BUFFERED_RESPONSE) reenter(f);
  return true;
}
bool CALLBACK(http_drain_body)(void *f, body_kind kind, size_t bytes) {
  (void)f, (void)kind, (void)bytes;
  return true;
}
static bool draw_text(text *result, size_t most) {
  static char *last[4];
  static int at;
  char **place = &last[at++ % 4];
  free(*place);
  size_t length = draw((uint32_t)most);
  *result = (text){*place = exact(length), length};
  return draw(3) != 0;
}
bool CALLBACK(http_get_metadata_string)(void *f, metadata_source s, text space, text key, text *result) {
  (void)f, (void)s;
  use(space), use(key);
  return draw_text(result, 100);
}
void CALLBACK(http_set_dynamic_metadata_struct)(void *f, text space, text serialized) {
  (void)f;
  use(space), use(serialized);
}
bool CALLBACK(http_get_filter_state_bytes)(void *f, text key, text *result) {
  (void)f;
  use(key);
  return draw_text(result, 3000);
}
bool CALLBACK(http_filter_get_attribute_string)(void *f, attribute a, text *result) {
  (void)f, (void)a;
  return draw_text(result, 200);
}
void CALLBACK(http_filter_continue_decoding)(void *f) { reenter(f); }
void CALLBACK(http_filter_continue_encoding)(void *f) { reenter(f); }
const void *CALLBACK(get_most_specific_route_config)(void *f) {
  (void)f;
  if (draw(2)) return NULL;
  static const char open[] = "failure_mode_allow";
  return HOOK(http_filter_per_route_config_new)((text){"", 0}, (text){open, draw(2) ? sizeof open - 1 : 5});
}

// ---------------------------------------------------------------- Go

static void put_answer(call *c, text answer) {
  char *copy = exact(answer.length);
  memcpy(copy, answer.at, answer.length);
  uint32_t length = (uint32_t)answer.length;
  if (length && !draw(4)) length = draw(length);           // cut off
  if (length && !draw(4)) copy[draw(length)] ^= (char)draw(256); // damaged
  size_t needed = c->written + 4 + length;
  if (needed > c->capacity) {
    char *more = malloc(needed);
    memcpy(more, c->answers, c->written);
    c->answers = more; // as Go does, once for each call
    c->capacity = needed;
  }
  memcpy(c->answers + c->written, &length, 4);
  memcpy(c->answers + c->written + 4, copy, length);
  c->written = needed;
  free(copy);
}

static void answer_call(call *c) {
  use((text){c->message, c->length});
  if (draw(3) && answer_count) put_answer(c, answers[draw((uint32_t)answer_count)]);
  c->ended = draw(3) == 0;
  c->failed = c->ended && draw(2);
  if (!c->stream && !c->ended) live_streams++, c->stream = 1;
  if (c->stream && c->ended) live_streams--, c->stream = 0;
}

void gatewrightRequest(call *c) { answer_call(c); }
void gatewrightResponse(call *c) { answer_call(c); }
void gatewrightScheduled(call *c) { answer_call(c); }
void gatewrightDestroy(uint64_t stream, bool same_thread) {
  (void)stream, (void)same_thread;
  live_streams--;
}

// ---------------------------------------------------------------- steps

static void read_answers(const char *path) {
  FILE *file = fopen(path, "rb");
  uint32_t length;
  while (file && answer_count < MOST_ANSWERS && fread(&length, 4, 1, file) == 1) {
    char *bytes = exact(length);
    if (fread(bytes, 1, length, file) != length) abort();
    answers[answer_count++] = (text){bytes, length};
  }
  if (file) fclose(file);
}

static void step(fake *f) {
  if (!f->module) f->module = HOOK(http_filter_new)(NULL, f);
  switch (draw(8)) {
    case 0:
      destroy(f);
      break;
    case 1:
    case 2:
      HOOK(http_filter_request_headers)(f, f->module, draw(2));
      break;
    case 3:
      HOOK(http_filter_response_headers)(f, f->module, draw(2));
      break;
    case 4:
      HOOK(http_filter_scheduled)(f, f->module, 0);
      break;
    case 5:
      draw(2) ? HOOK(http_filter_request_body)(f, f->module, draw(2)) : HOOK(http_filter_response_body)(f, f->module, draw(2));
      break;
    default:
      draw(2) ? HOOK(http_filter_request_trailers)(f, f->module) : HOOK(http_filter_response_trailers)(f, f->module);
  }
}

int main(int count, char **arguments) {
  if (count != 4) return 2;
  state = strtoull(arguments[1], NULL, 10);
  read_answers(arguments[3]);
  if (!answer_count) return 2;
  names = (name_list){{"filter", 6}, {"route", 5}, {"client", 6}, {"peer", 4}, {"state", 5}, {"space", 5}, {"token", 5}};
  for (long steps = strtol(arguments[2], NULL, 10); steps > 0; steps--) step(&filters[draw(FILTERS)]);
  for (int n = 0; n < FILTERS; n++) destroy(&filters[n]);
  if (live_streams) {
    fprintf(stderr, "expected no stream behind the last filter, got %zu\n", live_streams);
    return 1;
  }
  return 0;
}
