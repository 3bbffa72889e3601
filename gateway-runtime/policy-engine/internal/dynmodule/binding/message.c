//go:build inenvoy

// Messages of ext_proc (envoy.service.ext_proc.v3), as Envoy's own filter would send them. Sizes come first, so that each
// message is written in one go.

#include <stdlib.h>
#include <string.h>

#include "module.h"

name_list names;

enum { VARINT = 0, BYTES = 2 };

typedef struct {
  char *at;
} writer;

static size_t varint_size(uint64_t value) {
  size_t size = 1;
  while (value >= 0x80) {
    value >>= 7;
    size++;
  }
  return size;
}

// field_size is the size of a field of bytes whose number is below 16.
static size_t field_size(size_t length) { return 1 + varint_size(length) + length; }

static void put_varint(writer *w, uint64_t value) {
  while (value >= 0x80) {
    *w->at++ = (char)(value | 0x80);
    value >>= 7;
  }
  *w->at++ = (char)value;
}

static void put_head(writer *w, int number, size_t length) {
  *w->at++ = (char)(number << 3 | BYTES);
  put_varint(w, length);
}

static void put_bytes(writer *w, int number, const char *at, size_t length) {
  put_head(w, number, length);
  memcpy(w->at, at, length);
  w->at += length;
}

static void put_text(writer *w, int number, text value) { put_bytes(w, number, value.at, value.length); }

// ---------------------------------------------------------------- maps of texts

// pair is an entry of a google.protobuf.Struct: a string.
typedef struct {
  text key, value;
} pair;

static size_t value_size(text value) { return field_size(value.length); }

static size_t pair_size(const pair *p) { return field_size(p->key.length) + field_size(value_size(p->value)); }

static size_t struct_size(const pair *pairs, size_t count) {
  size_t size = 0;
  for (size_t n = 0; n < count; n++) size += field_size(pair_size(&pairs[n]));
  return size;
}

// named_size is the size of an entry of a map from names to Structs.
static size_t named_size(text name, const pair *pairs, size_t count) {
  return field_size(name.length) + field_size(struct_size(pairs, count));
}

static void put_named(writer *w, int number, text name, const pair *pairs, size_t count) {
  put_head(w, number, named_size(name, pairs, count));
  put_text(w, 1, name);
  put_head(w, 2, struct_size(pairs, count));
  for (size_t n = 0; n < count; n++) {
    put_head(w, 1, pair_size(&pairs[n]));
    put_text(w, 1, pairs[n].key);
    put_head(w, 2, value_size(pairs[n].value));
    put_text(w, 3, pairs[n].value); // of Value: string_value
  }
}

// ---------------------------------------------------------------- headers

static size_t header_size(const header *h) {
  return field_size(h->name_length) + (h->value_length ? field_size(h->value_length) : 0);
}

static void put_header(writer *w, const header *h) {
  put_head(w, 1, header_size(h));
  put_bytes(w, 1, h->name, h->name_length);
  if (h->value_length) put_bytes(w, 3, h->value, h->value_length); // raw_value
}

// Buffers of a thread that last as long as it does.
static __thread struct {
  char *message;
  size_t message_size;
  header *headers;
  size_t headers_size;
} room;

static void *grow(void *old, size_t *size, size_t wanted) {
  if (wanted <= *size) return old;
  free(old);
  *size = wanted * 2;
  void *made = malloc(*size);
  if (!made) abort();
  return made;
}

// request_attributes reads what the ext_proc filter sends with a request, and returns the number of attributes.
static size_t request_attributes(void *envoy, pair *attributes, pair *token, bool *has_token) {
  size_t count = 0;
  attributes[count].key = names.route_name;
  if (CALLBACK(http_filter_get_attribute_string)(envoy, ROUTE_NAME, &attributes[count].value)) count++;
  attributes[count].key = names.client_address;
  if (CALLBACK(http_filter_get_attribute_string)(envoy, SOURCE_ADDRESS, &attributes[count].value)) count++;
  attributes[count].key = names.peer;
  if (CALLBACK(http_get_filter_state_bytes)(envoy, names.peer_state, &attributes[count].value)) count++;
  token->key = names.trace_token;
  *has_token =
      CALLBACK(http_get_metadata_string)(envoy, DYNAMIC_METADATA, names.trace_space, names.trace_token, &token->value);
  return count;
}

size_t encode_head(void *envoy, header_map map, bool end, const char **message) {
  size_t count = CALLBACK(http_get_headers_size)(envoy, map);
  room.headers = grow(room.headers, &room.headers_size, (count + 1) * sizeof(header));
  if (!CALLBACK(http_get_headers)(envoy, map, room.headers)) count = 0;
  size_t headers = 0;
  for (size_t n = 0; n < count; n++) headers += field_size(header_size(&room.headers[n]));
  size_t head = field_size(headers) + (end ? 2 : 0);
  size_t size = field_size(head);

  pair attributes[3], token;
  size_t attribute_count = 0;
  bool has_token = false;
  if (map == REQUEST_HEADERS) attribute_count = request_attributes(envoy, attributes, &token, &has_token);
  if (attribute_count) size += field_size(named_size(names.ext_proc_filter, attributes, attribute_count));
  size_t metadata = has_token ? field_size(named_size(names.trace_space, &token, 1)) : 0;
  if (has_token) size += field_size(metadata);

  room.message = grow(room.message, &room.message_size, size);
  writer w = {room.message};
  put_head(&w, map == REQUEST_HEADERS ? 2 : 3, head);
  put_head(&w, 1, headers);
  for (size_t n = 0; n < count; n++) put_header(&w, &room.headers[n]);
  if (end) {
    *w.at++ = 3 << 3 | VARINT;
    *w.at++ = 1;
  }
  if (has_token) {
    put_head(&w, 8, metadata);
    put_named(&w, 1, names.trace_space, &token, 1);
  }
  if (attribute_count) put_named(&w, 9, names.ext_proc_filter, attributes, attribute_count);
  *message = room.message;
  return size;
}
