// What Go exports to the hooks, for fake_envoy.c.
#include "../../module.h"

void gatewrightRequest(call *);
void gatewrightResponse(call *);
void gatewrightScheduled(call *);
void gatewrightDestroy(uint64_t stream, bool same_thread);
