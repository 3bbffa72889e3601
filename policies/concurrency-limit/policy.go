// Package concurrencylimit is the policy concurrency-limit: so many exchanges of a key are under way at once on a node, the
// others are answered at once.
//
// An exchange takes a place as a lease of its metadata, which the chain gives back once when the exchange has ended, in
// whatever way: see v1alpha.ExchangeMetadata.Lease. So no hook of the policy gives back anything, and no place is lost where
// a response never comes.
package concurrencylimit

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"

	"gatewright.dev/sdk/policy/requestkey"
	"gatewright.dev/sdk/policy/v1alpha"
)

type parameters struct {
	Max        int64             `json:"max"`
	Key        []requestkey.Part `json:"key"`
	Status     int               `json:"status"`
	RetryAfter int64             `json:"retryAfter"`
}

type policy struct {
	max     int64
	key     requestkey.Key
	shards  [shards]shard
	refusal *v1alpha.ImmediateResponse
	refused *v1alpha.Counter
}

const shards = 16

// shard has a part of the keys: those that have exchanges under way, and how many.
type shard struct {
	mu    sync.Mutex
	under map[requestkey.Hash]int64
}

// GetPolicy builds an instance; its parameters are in policy-definition.yaml.
func GetPolicy(metadata v1alpha.Metadata, params v1alpha.Params) (v1alpha.Policy, error) {
	given := parameters{Status: http.StatusServiceUnavailable, RetryAfter: 1}
	if err := params.Decode(&given); err != nil {
		return nil, err
	}
	refused, err := metadata.Metrics.Counter("concurrency_limited_total", "Requests that a limit of those under way has refused.", "api")
	if err != nil {
		return nil, err
	}
	p := &policy{
		max: given.Max, key: requestkey.New(metadata.Operation, given.Key), refused: refused,
		refusal: &v1alpha.ImmediateResponse{
			StatusCode: given.Status,
			Headers: []v1alpha.Header{
				{Name: "content-type", Value: "application/problem+json"},
				{Name: "retry-after", Value: strconv.FormatInt(given.RetryAfter, 10)},
			},
			Body: fmt.Appendf(nil, `{"type":"about:blank","title":%q,"status":%d}`, http.StatusText(given.Status), given.Status),
		},
	}
	for i := range p.shards {
		p.shards[i].under = map[requestkey.Hash]int64{}
	}
	return p, nil
}

// OnRequest takes a place for the exchange, or answers it.
func (p *policy) OnRequest(_ context.Context, req *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	hash, err := p.key.Of(req)
	if err != nil {
		return nil, err
	}
	taken := &place{&p.shards[hash[0]%shards], hash}
	if !taken.shard.take(hash, p.max) {
		p.refused.Inc(req.APIName)
		return p.refusal, nil
	}
	req.Metadata.Lease(p, func() v1alpha.Lease { return taken })
	return nil, nil
}

// OnResponse does nothing. The definition asks for the phase so that the exchange lasts until there is a response.
func (*policy) OnResponse(context.Context, *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	return nil, nil
}

// Close has nothing to give back.
func (*policy) Close() error { return nil }

// NeverBlocks says that the policy waits for nothing.
func (*policy) NeverBlocks() {}

func (s *shard) take(key requestkey.Hash, most int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.under[key] >= most {
		return false
	}
	s.under[key]++
	return true
}

// place is that of an exchange.
type place struct {
	shard *shard
	key   requestkey.Hash
}

// Release gives the place back. Keys without exchanges take no memory.
func (p *place) Release() {
	p.shard.mu.Lock()
	defer p.shard.mu.Unlock()
	if p.shard.under[p.key]--; p.shard.under[p.key] == 0 {
		delete(p.shard.under, p.key)
	}
}
