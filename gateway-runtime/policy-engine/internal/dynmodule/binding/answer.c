//go:build inenvoy

// Answers of the engine (envoy.service.ext_proc.v3.ProcessingResponse), applied as Envoy's ext_proc filter applies them.
// The engine has encoded them; what is malformed is skipped.

#include <stdlib.h>
#include <string.h>

#include "module.h"

// field is one field of a message: a number, or bytes.
typedef struct {
  uint32_t number;
  uint64_t value;
  text bytes;
} field;

static bool take_varint(text *rest, uint64_t *value) {
  *value = 0;
  for (int shift = 0; rest->length && shift < 64; shift += 7) {
    uint8_t byte = (uint8_t)*rest->at++;
    rest->length--;
    *value |= (uint64_t)(byte & 0x7f) << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

// take reads the next field of a message; false: there is none.
static bool take(text *rest, field *f) {
  uint64_t tag, length = 0;
  if (!rest->length || !take_varint(rest, &tag)) return false;
  f->number = (uint32_t)(tag >> 3);
  f->bytes = (text){rest->at, 0};
  switch (tag & 7) {
    case 0:
      return take_varint(rest, &f->value);
    case 1:
      length = 8;
      break;
    case 2:
      if (!take_varint(rest, &length)) return false;
      break;
    case 5:
      length = 4;
      break;
    default:
      return false;
  }
  if (length > rest->length) return false;
  f->bytes = (text){rest->at, length};
  rest->at += length;
  rest->length -= length;
  return true;
}

// find returns the last field with the number in a message; empty bytes and false: there is none.
static bool find(text message, uint32_t number, field *found) {
  bool any = false;
  field f;
  found->value = 0;
  found->bytes = (text){"", 0};
  while (take(&message, &f)) {
    if (f.number != number) continue;
    *found = f;
    any = true;
  }
  return any;
}

// ---------------------------------------------------------------- metadata

// apply_metadata sets dynamic metadata: a Struct whose fields are namespaces, each with a Struct.
static void apply_metadata(void *envoy, text metadata) {
  field entry, key, value, inner;
  while (take(&metadata, &entry)) {
    if (entry.number != 1 || !find(entry.bytes, 1, &key) || !find(entry.bytes, 2, &value)) continue;
    if (find(value.bytes, 5, &inner)) CALLBACK(http_set_dynamic_metadata_struct)(envoy, key.bytes, inner.bytes);
  }
}

// ---------------------------------------------------------------- headers

// option is a HeaderValueOption.
typedef struct {
  text name, value;
  bool appends;
} option;

static bool read_option(text message, option *o) {
  field head, name, value, append, yes;
  if (!find(message, 1, &head) || !find(head.bytes, 1, &name)) return false;
  find(head.bytes, 3, &value);
  *o = (option){name.bytes, value.bytes, false};
  if (find(message, 2, &append)) o->appends = find(append.bytes, 1, &yes) && yes.value;
  return true;
}

static bool equal(text a, const char *b) { return a.length == strlen(b) && !memcmp(a.at, b, a.length); }

// apply_mutation removes headers, and then sets others. It reports whether one of these is content-length.
static bool apply_mutation(void *envoy, header_map map, text mutation) {
  bool sets_length = false;
  field f;
  for (text rest = mutation; take(&rest, &f);) {
    if (f.number == 2) CALLBACK(http_set_header)(envoy, map, f.bytes, (text){NULL, 0});
  }
  for (text rest = mutation; take(&rest, &f);) {
    option o;
    if (f.number != 1 || !read_option(f.bytes, &o)) continue;
    sets_length = sets_length || equal(o.name, "content-length");
    if (o.appends) {
      CALLBACK(http_add_header)(envoy, map, o.name, o.value);
    } else {
      CALLBACK(http_set_header)(envoy, map, o.name, o.value);
    }
  }
  return sets_length;
}

// replace_body replaces a message's body. Where the message has ended with its headers, the new body is all that follows
// them; otherwise it takes the place of what comes.
static void replace_body(filter *f, bool response, text body, bool ended) {
  if (ended) {
    if (body.length) CALLBACK(http_append_body)(f->envoy, response ? BUFFERED_RESPONSE : BUFFERED_REQUEST, body);
    return;
  }
  f->replaces[response] = true;
  free(f->replacement[response]);
  f->replacement[response] = NULL;
  f->replacement_length[response] = body.length;
  if (!body.length) return;
  f->replacement[response] = malloc(body.length);
  if (!f->replacement[response]) abort();
  memcpy(f->replacement[response], body.at, body.length);
}

// apply_headers applies a HeadersResponse.
static void apply_headers(filter *f, bool response, text answer, bool ended) {
  header_map map = response ? RESPONSE_HEADERS : REQUEST_HEADERS;
  field common, mutation, status, body, whole;
  if (!find(answer, 1, &common)) return;
  bool sets_length = find(common.bytes, 2, &mutation) && apply_mutation(f->envoy, map, mutation.bytes);
  if (!find(common.bytes, 1, &status) || status.value != 1) return; // CONTINUE_AND_REPLACE
  if (!find(common.bytes, 3, &body)) return;
  find(body.bytes, 1, &whole);
  if (!sets_length) CALLBACK(http_set_header)(f->envoy, map, (text){"content-length", 14}, (text){NULL, 0});
  replace_body(f, response, whole.bytes, ended);
}

// ---------------------------------------------------------------- immediate responses

static size_t count_fields(text message, uint32_t number) {
  size_t count = 0;
  field f;
  while (take(&message, &f)) count += f.number == number;
  return count;
}

// is_grpc reports whether the request is gRPC, as Envoy decides it.
static bool is_grpc(const header *headers, size_t count) {
  static const char name[] = "content-type", kind[] = "application/grpc";
  for (size_t n = 0; n < count; n++) {
    const header *h = &headers[n];
    if (h->name_length != sizeof name - 1 || memcmp(h->name, name, h->name_length)) continue;
    size_t length = sizeof kind - 1;
    if (h->value_length < length || memcmp(h->value, kind, length)) return false;
    return h->value_length == length || h->value[length] == '+' || h->value[length] == ';';
  }
  return false;
}

static bool request_is_grpc(void *envoy) {
  size_t count = CALLBACK(http_get_headers_size)(envoy, REQUEST_HEADERS);
  header *headers = malloc((count + 1) * sizeof *headers);
  if (!headers) abort();
  bool yes = CALLBACK(http_get_headers)(envoy, REQUEST_HEADERS, headers) && is_grpc(headers, count);
  free(headers);
  return yes;
}

// write_number writes a number of at most 10 digits and returns their count.
static size_t write_number(char *digits, uint32_t number) {
  char reversed[10];
  size_t count = 0;
  do {
    reversed[count++] = (char)('0' + number % 10);
  } while (number /= 10);
  for (size_t n = 0; n < count; n++) digits[n] = reversed[count - 1 - n];
  return count;
}

// grpc_status_of returns the status of a gRPC call that is answered with a status of HTTP, as the ext_proc filter has it.
static uint32_t grpc_status_of(uint32_t status) {
  switch (status) {
    case 400: return 13;  // INTERNAL
    case 401: return 16;  // UNAUTHENTICATED
    case 403: return 7;   // PERMISSION_DENIED
    case 404: return 12;  // UNIMPLEMENTED
    case 429: case 502: case 503: case 504: return 14;  // UNAVAILABLE
    default: return 2;    // UNKNOWN
  }
}

size_t add_grpc_status(void *envoy, uint32_t status, header *into, char digits[10]) {
  if (!request_is_grpc(envoy)) return 0;
  *into = (header){"grpc-status", 11, digits, write_number(digits, status)};
  return 1;
}

// send_immediate sends an ImmediateResponse. Afterwards Envoy may have destroyed the filter. All bytes of the message are
// of a copy: a hook within the call may use the thread's buffers.
static void send_immediate(void *envoy, text immediate) {
  char *copy = malloc(immediate.length + 1);
  if (!copy) abort();
  memcpy(copy, immediate.at, immediate.length);
  text message = {copy, immediate.length};
  field status, code, mutation, body, grpc, grpc_code, details, f;
  find(message, 1, &status);
  find(status.bytes, 1, &code);
  find(message, 2, &mutation);
  find(message, 3, &body);
  find(message, 5, &details);
  for (size_t n = 0; n < details.bytes.length; n++) {
    char *at = (char *)details.bytes.at + n;
    if (*at == ' ' || (*at >= '\t' && *at <= '\r')) *at = '_'; // as the ext_proc filter has it
  }
  header *headers = malloc((count_fields(mutation.bytes, 1) + 1) * sizeof *headers);
  if (!headers) abort();
  size_t count = 0;
  bool names_grpc_status = false;
  for (text rest = mutation.bytes; take(&rest, &f);) {
    option o;
    if (f.number != 1 || !read_option(f.bytes, &o)) continue;
    names_grpc_status = names_grpc_status || equal(o.name, "grpc-status");
    headers[count++] = (header){o.name.at, o.name.length, o.value.at, o.value.length};
  }
  char digits[10];
  if (!names_grpc_status) {
    bool given = find(message, 4, &grpc) && find(grpc.bytes, 1, &grpc_code);
    uint32_t grpc_status = given ? (uint32_t)grpc_code.value : grpc_status_of((uint32_t)code.value);
    count += add_grpc_status(envoy, grpc_status, &headers[count], digits);
  }
  CALLBACK(http_send_response)(envoy, (uint32_t)code.value, headers, count, body.bytes, details.bytes);
  free(headers);
  free(copy);
}

// ---------------------------------------------------------------- answers

verdict apply_answers(filter *f, const call *c) {
  verdict v = {false, false, false};
  text immediate = {NULL, 0};
  for (size_t at = 0; at + 4 <= c->written;) {
    uint32_t length;
    memcpy(&length, c->answers + at, 4);
    text message = {c->answers + at + 4, length};
    at += 4 + length;
    field part;
    while (take(&message, &part)) {
      switch (part.number) {
        case 1:
          apply_headers(f, false, part.bytes, f->request_ended);
          v.request = true;
          break;
        case 2:
          apply_headers(f, true, part.bytes, f->response_ended);
          v.response = true;
          break;
        case 7:
          immediate = part.bytes;
          v.immediate = true;
          break;
        case 8:
          apply_metadata(f->envoy, part.bytes);
          break;
      }
    }
  }
  if (v.immediate) send_immediate(f->envoy, immediate);
  return v;
}
