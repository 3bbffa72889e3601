// What the C files of the module and its Go files know of each other.
#ifndef GATEWRIGHT_MODULE_H
#define GATEWRIGHT_MODULE_H

#include "abi.h"

// call is one call of Go on behalf of a stream.
typedef struct {
  void *filter;         // Envoy's
  uint64_t stream;      // Go's; 0: none yet, or not any more
  const char *message;  // an encoded ProcessingRequest
  size_t length;
  char *answers;        // room for encoded ProcessingResponses, each behind its length in 4 bytes; Go allocates more if it is too small
  size_t capacity;
  size_t written;
  bool ended;           // nothing more comes from the stream
  bool failed;          // it has ended with an error
} call;

// names are the names of proto/envoy_names.yaml that the messages have. Go sets them before the first stream.
typedef struct {
  text ext_proc_filter, route_name, client_address, peer, peer_state, trace_space, trace_token;
} name_list;

extern name_list names;

// filter is the module's part of one HTTP filter. Envoy calls its hooks on one thread.
typedef struct {
  void *envoy;
  uint64_t stream;
  uint64_t thread;        // that has created it
  int depth;              // hooks of this filter on the stack: what the module calls may call its hooks again
  bool destroyed;         // within one of these hooks, the last of which frees the filter
  bool request_ended;     // with its headers
  bool response_seen;     // its headers
  bool response_ended;    // with its headers
  bool request_paused;    // at its headers
  bool response_paused;   // at its headers
  bool finished;          // the stream is told nothing more
  bool fails_open;        // an error lets the exchange go on
  char *replacement[2];   // of the request's and the response's body; NULL: none
  size_t replacement_length[2];
  bool replaces[2];       // the body that still comes is dropped
} filter;

// encode_head writes the message of a request's or response's headers to a buffer of the thread's, which the next call
// overwrites. It returns its length.
size_t encode_head(void *envoy, header_map, bool end, const char **message);

// verdict is what answers have asked for.
typedef struct {
  bool request, response;  // the headers go on
  bool immediate;          // a response has been sent in place of all else
} verdict;

// apply_answers applies the answers of a call to the filter. If one is an immediate response, this is sent last: after
// that Envoy may have destroyed the filter.
verdict apply_answers(filter *, const call *);

// add_grpc_status writes the header of a gRPC status if the request is gRPC, and returns how many headers it has written.
// Without it send_response gives a gRPC client the status 0, whatever the status of HTTP is.
size_t add_grpc_status(void *envoy, uint32_t status, header *into, char digits[10]);

// batch_threads makes the threads of the Go runtime yield to those of Envoy's.
void batch_threads(void);

#endif
