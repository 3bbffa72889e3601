package pythonbridge

import (
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"gatewright.dev/policy-engine/internal/backoff"
	"gatewright.dev/policy-engine/internal/policymetrics"
	"gatewright.dev/policy-engine/internal/quarantine"
)

// The limits of a frame and of a message. A frame holds at least one execution, whatever its size.
const (
	maxFrameExecutions = 256
	maxFrameBytes      = 256 << 10
	aloneBodyBytes     = 64 << 10 // an execution with a larger body gets a frame of its own
	maxMessageBytes    = 64 << 20
	maxExecutionBytes  = maxMessageBytes - 1<<20
	window             = 4 << 20 // bytes that an executor may send before they are read
)

// longestExchange bounds an execution whose context has no deadline: the gateway keeps no exchange waiting longer.
const longestExchange = 60 * time.Second

// defaultStreamTimeout is for instances without a timeout.
const defaultStreamTimeout = time.Second

// abandonedExecutionsCount is how long after it was abandoned a crash of its process may still be attributed to an
// execution.
const abandonedExecutionsCount = 10 * time.Second

// Options are the settings of all groups. A field that is zero or less has its default, at the end of its comment.
type Options struct {
	Generation       uint64        // number of the generation of the processes that NewGroups is given; 1
	CreditFrames     int           // frames sent to a process and not yet acknowledged; 1
	QueueLength      int           // executions that may wait in one process's queue; 4096
	ConnectTimeout   time.Duration // how long a Factory waits for a process to connect; 10 s
	ConfigureTimeout time.Duration // how long a Factory waits for its instance to be ready; 35 s
	HelloTimeout     time.Duration // how long a process may take to say hello on a new stream; 10 s
	HealthInterval   time.Duration // between health checks, and the time limit of one; 500 ms
	HealthMisses     int           // health checks that fail in a row until the stream is ended; 6
	StallAfter       time.Duration // how long hung executions may hold all workers with nothing finished; 10 s
	RetryConfigure   time.Duration // until an instance that failed is configured again; 1 s, and twice as long each time
	RetryMost        time.Duration // the longest of these; 30 s
	BackoffMin       time.Duration // first wait before a reconnect; 20 ms
	BackoffMax       time.Duration // longest wait before a reconnect; 100 ms
	Drain            time.Duration // how long a leaving process may finish its exchanges; 30 s
	QuarantineDeaths int           // deaths of processes, within the window, that put a policy instance under quarantine; 3
	QuarantineWindow time.Duration // in which these deaths count; 30 s
	QuarantineMin    time.Duration // the first quarantine; 10 s. Each one after it is twice as long
	QuarantineMax    time.Duration // the longest one; 10 min

	// Spans receives the spans that policies have recorded in traced executions: an
	// opentelemetry.proto.trace.v1.ResourceSpans, serialized, which the receiver may keep. It is called by the goroutine
	// that reads from a process, and must not block. nil: spans are dropped.
	Spans func(spans []byte)

	metrics     *policymetrics.Sums     // of the policies of all groups
	dialOptions []grpc.DialOption       // for tests
	logLevel    *atomic.Pointer[string] // set while the engine runs; holds nil until then
}

func (o Options) withDefaults() Options {
	o.Generation = max(o.Generation, 1)
	if o.logLevel == nil {
		o.logLevel = &atomic.Pointer[string]{}
	}
	orInt(&o.CreditFrames, 1)
	orInt(&o.QueueLength, 4096)
	orInt(&o.HealthMisses, 6)
	orDuration(&o.ConnectTimeout, 10*time.Second)
	orDuration(&o.ConfigureTimeout, 35*time.Second)
	orDuration(&o.HelloTimeout, 10*time.Second)
	orDuration(&o.HealthInterval, 500*time.Millisecond)
	orDuration(&o.StallAfter, 10*time.Second)
	orDuration(&o.RetryConfigure, time.Second)
	orDuration(&o.RetryMost, 30*time.Second)
	orDuration(&o.BackoffMin, 20*time.Millisecond)
	orDuration(&o.BackoffMax, 100*time.Millisecond)
	orDuration(&o.Drain, 30*time.Second)
	orInt(&o.QuarantineDeaths, 3)
	orDuration(&o.QuarantineWindow, 30*time.Second)
	orDuration(&o.QuarantineMin, 10*time.Second)
	orDuration(&o.QuarantineMax, 10*time.Minute)
	if o.metrics == nil {
		o.metrics = policymetrics.NewSums()
	}
	return o
}

func (o Options) retryAfter(tries int) time.Duration {
	return backoff.Doubling{First: o.RetryConfigure, Longest: o.RetryMost}.Wait(tries)
}

func (o Options) quarantine() quarantine.Options {
	return quarantine.Options{Crashes: o.QuarantineDeaths, Window: o.QuarantineWindow, Min: o.QuarantineMin, Max: o.QuarantineMax}
}

func orInt(field *int, value int) {
	if *field <= 0 {
		*field = value
	}
}

func orDuration(field *time.Duration, value time.Duration) {
	if *field <= 0 {
		*field = value
	}
}
