// The part of Envoy's ABI of dynamic modules that the module uses: names, shapes and numbers of Envoy 1.40
// (source/extensions/dynamic_modules/abi/abi.h). Envoy resolves the hooks by their names when it loads the module.
#ifndef GATEWRIGHT_ABI_H
#define GATEWRIGHT_ABI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// ABI_VERSION is what Envoy 1.40 expects; it warns about another one.
#define ABI_VERSION "v0.2.0"

// text is envoy_dynamic_module_type_envoy_buffer and envoy_dynamic_module_type_module_buffer: bytes of Envoy's, valid until
// the hook returns, and bytes of the module's.
typedef struct {
  const char *at;
  size_t length;
} text;

// header is envoy_dynamic_module_type_envoy_http_header and envoy_dynamic_module_type_module_http_header.
typedef struct {
  const char *name;
  size_t name_length;
  const char *value;
  size_t value_length;
} header;

typedef enum { REQUEST_HEADERS = 0, RESPONSE_HEADERS = 2 } header_map;

typedef enum { RECEIVED_REQUEST = 0, BUFFERED_REQUEST = 1, RECEIVED_RESPONSE = 2, BUFFERED_RESPONSE = 3 } body_kind;

typedef enum { CONTINUE = 0, STOP_ITERATION = 1, STOP_ALL_AND_WATERMARK = 4 } headers_status;

typedef enum { SOURCE_ADDRESS = 24, ROUTE_NAME = 61 } attribute;

typedef enum { DYNAMIC_METADATA = 0 } metadata_source;

typedef enum { LEVEL_CRITICAL = 5 } log_level;

#define CALLBACK(name) envoy_dynamic_module_callback_##name
#define HOOK(name) envoy_dynamic_module_on_##name

void CALLBACK(log)(log_level, text message);
uint32_t CALLBACK(get_concurrency)(void);
bool CALLBACK(is_validation_mode)(void);
void CALLBACK(bootstrap_extension_config_signal_init_complete)(void *config);

size_t CALLBACK(http_get_headers_size)(void *filter, header_map);
bool CALLBACK(http_get_headers)(void *filter, header_map, header *result);
bool CALLBACK(http_add_header)(void *filter, header_map, text name, text value);
bool CALLBACK(http_set_header)(void *filter, header_map, text name, text value);
void CALLBACK(http_send_response)(void *filter, uint32_t status, header *headers, size_t count, text body, text details);
size_t CALLBACK(http_get_body_size)(void *filter, body_kind);
bool CALLBACK(http_append_body)(void *filter, body_kind, text data);
bool CALLBACK(http_drain_body)(void *filter, body_kind, size_t bytes);
bool CALLBACK(http_get_metadata_string)(void *filter, metadata_source, text name_space, text key, text *result);
void CALLBACK(http_set_dynamic_metadata_struct)(void *filter, text name_space, text serialized);
bool CALLBACK(http_get_filter_state_bytes)(void *filter, text key, text *result);
bool CALLBACK(http_filter_get_attribute_string)(void *filter, attribute, text *result);
void *CALLBACK(http_filter_scheduler_new)(void *filter);
void CALLBACK(http_filter_scheduler_commit)(void *scheduler, uint64_t event);
void CALLBACK(http_filter_scheduler_delete)(void *scheduler);
void CALLBACK(http_filter_continue_decoding)(void *filter);
void CALLBACK(http_filter_continue_encoding)(void *filter);
const void *CALLBACK(get_most_specific_route_config)(void *filter);

#endif
