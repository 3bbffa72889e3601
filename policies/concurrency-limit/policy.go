// Package concurrencylimit is the policy concurrency-limit: it admits a number of concurrent exchanges of a key on a node, and
// immediately refuses further ones.
//
// Each exchange takes a place. OnResponse releases it before the client gets the response, so that the client's next request
// finds it free. The exchange also holds the place as a lease (v1alpha.ExchangeMetadata.Lease), which the chain releases at
// the end of every exchange, so that no place is lost without a response.
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

// shard has the numbers of exchanges under way for a part of the keys. Keys without exchanges are not in it.
type shard struct {
	mu     sync.Mutex
	active map[requestkey.Hash]int64
}

// GetPolicy builds an instance; its parameters are in policy-definition.yaml.
func GetPolicy(metadata v1alpha.Metadata, params v1alpha.Params) (v1alpha.Policy, error) {
	parsed := parameters{Status: http.StatusServiceUnavailable, RetryAfter: 1}
	if err := params.Decode(&parsed); err != nil {
		return nil, err
	}
	refused, err := metadata.Metrics.Counter("concurrency_limited_total", "Requests that a concurrency limit has refused.", "api")
	if err != nil {
		return nil, err
	}
	p := &policy{
		max: parsed.Max, key: requestkey.New(metadata.Operation, parsed.Key), refused: refused,
		refusal: &v1alpha.ImmediateResponse{
			StatusCode: parsed.Status,
			Headers: []v1alpha.Header{
				{Name: "content-type", Value: "application/problem+json"},
				{Name: "retry-after", Value: strconv.FormatInt(parsed.RetryAfter, 10)},
			},
			Body: fmt.Appendf(nil, `{"type":"about:blank","title":%q,"status":%d}`, http.StatusText(parsed.Status), parsed.Status),
		},
	}
	for i := range p.shards {
		p.shards[i].active = map[requestkey.Hash]int64{}
	}
	return p, nil
}

// OnRequest acquires a place for the exchange, or refuses the request.
func (p *policy) OnRequest(_ context.Context, req *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	hash, err := p.key.Of(req)
	if err != nil {
		return nil, err
	}
	acquired := &place{shard: &p.shards[hash[0]%shards], key: hash}
	if !acquired.shard.acquire(hash, p.max) {
		p.refused.Inc(req.APIName)
		return p.refusal, nil
	}
	req.Metadata.Lease(p, func() v1alpha.Lease { return acquired })
	return nil, nil
}

// OnResponse releases the place.
func (p *policy) OnResponse(_ context.Context, res *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	res.Metadata.Lease(p, func() v1alpha.Lease { return noPlace{} }).Release()
	return nil, nil
}

// Close does nothing.
func (*policy) Close() error { return nil }

// NeverBlocks marks a policy that never waits.
func (*policy) NeverBlocks() {}

func (s *shard) acquire(key requestkey.Hash, most int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active[key] >= most {
		return false
	}
	s.active[key]++
	return true
}

// place is the place of an exchange.
type place struct {
	shard    *shard
	key      requestkey.Hash
	released bool // guarded by the shard's mutex
}

// Release releases the place. Further calls do nothing.
func (p *place) Release() {
	p.shard.mu.Lock()
	defer p.shard.mu.Unlock()
	if p.released {
		return
	}
	p.released = true
	if p.shard.active[p.key]--; p.shard.active[p.key] == 0 {
		delete(p.shard.active, p.key)
	}
}

// noPlace is the lease of an exchange without a place, since it was refused or the policy has failed.
type noPlace struct{}

func (noPlace) Release() {}
