// Package concurrencylimit is the policy concurrency-limit: so many exchanges of a key are under way at once on a node, the
// others are answered at once.
//
// A place is given back when the response comes to the policy on its way to the client, so that a client that asks again as
// soon as it is answered finds it free. Where no response comes, the exchange gives it back: it holds the place as a lease,
// which the chain ends with the exchange, however that ends (v1alpha.ExchangeMetadata.Lease). So none is lost.
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
	taken := &place{shard: &p.shards[hash[0]%shards], key: hash}
	if !taken.shard.take(hash, p.max) {
		p.refused.Inc(req.APIName)
		return p.refusal, nil
	}
	req.Metadata.Lease(p, func() v1alpha.Lease { return taken })
	return nil, nil
}

// OnResponse gives the place back.
func (p *policy) OnResponse(_ context.Context, res *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	res.Metadata.Lease(p, func() v1alpha.Lease { return nothing{} }).Release()
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
	given bool // back; the shard's mutex guards it
}

// Release gives the place back, once. Keys without exchanges take no memory.
func (p *place) Release() {
	p.shard.mu.Lock()
	defer p.shard.mu.Unlock()
	if p.given {
		return
	}
	p.given = true
	if p.shard.under[p.key]--; p.shard.under[p.key] == 0 {
		delete(p.shard.under, p.key)
	}
}

// nothing is what an exchange holds that has no place: it was refused, or the policy has failed.
type nothing struct{}

func (nothing) Release() {}
