package proxyanswer

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// other is the label beyond the bound.
const other = "other"

// Counter counts the answers that the proxy has made by itself.
type Counter struct {
	mutex     sync.Mutex
	counts    map[key]uint64
	maxSeries int // sets of labels; 0: no limit
}

type key struct {
	api, code string
	party     Party
}

// NewCounter makes an empty counter.
func NewCounter() *Counter { return &Counter{counts: map[key]uint64{}} }

// SetMaxSeries bounds the sets of labels from now on: further answers are counted under the API "other".
func (c *Counter) SetMaxSeries(most int) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.maxSeries = most
}

// Add counts an answer on a route of the API; "": it had no route.
func (c *Counter) Add(api string, cause *Cause) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	at := key{api, cause.Code, cause.Party}
	if _, known := c.counts[at]; !known && c.maxSeries > 0 && len(c.counts) >= c.maxSeries {
		at.api = other
	}
	c.counts[at]++
}

var answersTotal = prometheus.NewDesc("gatewright_proxy_answers_total",
	"Requests that Envoy has answered by itself, by whose fault that is.", []string{"api", "reason", "party"}, nil)

// Describe sends the metric's description.
func (c *Counter) Describe(to chan<- *prometheus.Desc) { to <- answersTotal }

// Collect sends the counts.
func (c *Counter) Collect(to chan<- prometheus.Metric) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for at, count := range c.counts {
		to <- prometheus.MustNewConstMetric(answersTotal, prometheus.CounterValue, float64(count), at.api, at.code, string(at.party))
	}
}

// APIRemoved removes the counts of an API.
func (c *Counter) APIRemoved(api string) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for at := range c.counts {
		if at.api == api {
			delete(c.counts, at)
		}
	}
}
