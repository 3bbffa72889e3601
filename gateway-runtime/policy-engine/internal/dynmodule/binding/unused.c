//go:build inenvoy

// Hooks that Envoy asks for when it loads the module, and that have nothing to do here.

#include "abi.h"

typedef const void *module;

void HOOK(http_filter_stream_complete)(void *e, module m) { (void)e, (void)m; }
void HOOK(http_filter_http_callout_done)(void *e, module m, uint64_t id, int result, header *h, size_t hs, text *b, size_t bs) {
  (void)e, (void)m, (void)id, (void)result, (void)h, (void)hs, (void)b, (void)bs;
}
void HOOK(http_filter_http_stream_headers)(void *e, module m, uint64_t id, header *h, size_t hs, bool end) {
  (void)e, (void)m, (void)id, (void)h, (void)hs, (void)end;
}
void HOOK(http_filter_http_stream_data)(void *e, module m, uint64_t id, const text *b, size_t bs, bool end) {
  (void)e, (void)m, (void)id, (void)b, (void)bs, (void)end;
}
void HOOK(http_filter_http_stream_trailers)(void *e, module m, uint64_t id, header *h, size_t hs) {
  (void)e, (void)m, (void)id, (void)h, (void)hs;
}
void HOOK(http_filter_http_stream_complete)(void *e, module m, uint64_t id) { (void)e, (void)m, (void)id; }
void HOOK(http_filter_http_stream_reset)(void *e, module m, uint64_t id, int why) { (void)e, (void)m, (void)id, (void)why; }
void HOOK(http_filter_downstream_above_write_buffer_high_watermark)(void *e, module m) { (void)e, (void)m; }
void HOOK(http_filter_downstream_below_write_buffer_low_watermark)(void *e, module m) { (void)e, (void)m; }
int HOOK(http_filter_local_reply)(void *e, module m, uint32_t status, text details, bool reset) {
  (void)e, (void)m, (void)status, (void)details, (void)reset;
  return CONTINUE;
}

void HOOK(http_filter_config_scheduled)(void *e, module m, uint64_t event) { (void)e, (void)m, (void)event; }
void HOOK(http_filter_config_http_callout_done)(void *e, module m, uint64_t id, int result, header *h, size_t hs, text *b, size_t bs) {
  (void)e, (void)m, (void)id, (void)result, (void)h, (void)hs, (void)b, (void)bs;
}
void HOOK(http_filter_config_http_stream_headers)(void *e, module m, uint64_t id, header *h, size_t hs, bool end) {
  (void)e, (void)m, (void)id, (void)h, (void)hs, (void)end;
}
void HOOK(http_filter_config_http_stream_data)(void *e, module m, uint64_t id, const text *b, size_t bs, bool end) {
  (void)e, (void)m, (void)id, (void)b, (void)bs, (void)end;
}
void HOOK(http_filter_config_http_stream_trailers)(void *e, module m, uint64_t id, header *h, size_t hs) {
  (void)e, (void)m, (void)id, (void)h, (void)hs;
}
void HOOK(http_filter_config_http_stream_complete)(void *e, module m, uint64_t id) { (void)e, (void)m, (void)id; }
void HOOK(http_filter_config_http_stream_reset)(void *e, module m, uint64_t id, int why) { (void)e, (void)m, (void)id, (void)why; }

void HOOK(bootstrap_extension_server_initialized)(void *e, module m) { (void)e, (void)m; }
void HOOK(bootstrap_extension_worker_thread_initialized)(void *e, module m) { (void)e, (void)m; }
void HOOK(bootstrap_extension_drain_started)(void *e, module m) { (void)e, (void)m; }
void HOOK(bootstrap_extension_destroy)(module m) { (void)m; }
void HOOK(bootstrap_extension_config_destroy)(module m) { (void)m; }
void HOOK(bootstrap_extension_config_scheduled)(void *e, module m, uint64_t event) { (void)e, (void)m, (void)event; }
void HOOK(bootstrap_extension_http_callout_done)(void *e, module m, uint64_t id, int result, header *h, size_t hs, text *b, size_t bs) {
  (void)e, (void)m, (void)id, (void)result, (void)h, (void)hs, (void)b, (void)bs;
}
void HOOK(bootstrap_extension_timer_fired)(void *e, module m, void *timer) { (void)e, (void)m, (void)timer; }
void HOOK(bootstrap_extension_file_changed)(void *e, module m, text path, uint32_t events) {
  (void)e, (void)m, (void)path, (void)events;
}
uint32_t HOOK(bootstrap_extension_admin_request)(void *e, module m, text method, text path, text body) {
  (void)e, (void)m, (void)method, (void)path, (void)body;
  return 404;
}
void HOOK(bootstrap_extension_cluster_add_or_update)(void *e, module m, text name) { (void)e, (void)m, (void)name; }
void HOOK(bootstrap_extension_cluster_removal)(void *e, module m, text name) { (void)e, (void)m, (void)name; }
void HOOK(bootstrap_extension_listener_add_or_update)(void *e, module m, text name) { (void)e, (void)m, (void)name; }
void HOOK(bootstrap_extension_listener_removal)(void *e, module m, text name) { (void)e, (void)m, (void)name; }
