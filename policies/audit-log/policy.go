// Package auditlog is the policy audit-log: a line of JSON for each exchange, appended to a file that the operator keeps.
package auditlog

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	"gatewright.dev/sdk/policy/v1alpha"
)

const (
	refuse = "refuse"
	never  = "never"
)

type policy struct {
	name     string // audit-log:v1.0.0
	file     *file
	recorder recorder
	begin    bool // a line before upstream is asked, too
	refuses  bool // where a line cannot be written
	lost     *v1alpha.Counter
	failing  atomic.Bool
}

// settings are an attachment's parameters.
type settings struct {
	File            string   `json:"file"`
	Begin           bool     `json:"begin"`
	RequestHeaders  []string `json:"requestHeaders"`
	ResponseHeaders []string `json:"responseHeaders"`
	OnFailure       string   `json:"onFailure"`
	Sync            string   `json:"sync"`
	HashChain       bool     `json:"hashChain"`
}

// operator is what the operator sets.
type operator struct {
	Folder          string   `json:"folder"`
	RedactedHeaders []string `json:"redactedHeaders"`
}

// GetPolicy builds an instance, and opens its file. Parameters are those of its definition, with their defaults.
func GetPolicy(metadata v1alpha.Metadata, params v1alpha.Params) (v1alpha.Policy, error) {
	var given settings
	if err := params.Decode(&given); err != nil {
		return nil, err
	}
	var kept operator
	if err := metadata.SystemParams.Decode(&kept); err != nil {
		return nil, fmt.Errorf("system parameters: %w", err)
	}
	interval, err := syncInterval(given.Sync)
	if err != nil {
		return nil, err
	}
	lost, err := metadata.Metrics.Counter("lines_lost_total", "Lines that could not be written.", "api")
	if err != nil {
		return nil, err
	}
	if !filepath.IsAbs(kept.Folder) || given.File == "" || filepath.Base(given.File) != given.File {
		return nil, fmt.Errorf("expected an absolute folder and a file's name in it, got %q and %q", kept.Folder, given.File)
	}
	opened, err := newFile(filepath.Join(kept.Folder, given.File), interval, given.HashChain)
	if err != nil {
		return nil, fmt.Errorf("%w; the operator says where by the system parameter folder of %s", err, metadata.PolicyName)
	}
	return &policy{
		name:     metadata.PolicyName + ":" + metadata.PolicyVersion,
		file:     opened,
		recorder: recorder{newNames(kept.RedactedHeaders), given.RequestHeaders, given.ResponseHeaders},
		begin:    given.Begin,
		refuses:  given.OnFailure == refuse,
		lost:     lost,
	}, nil
}

// syncInterval is how long a line may wait until it is on the disk: 0 for not at all, less where nobody asks for it.
func syncInterval(text string) (time.Duration, error) {
	if text == never {
		return -1, nil
	}
	interval, err := time.ParseDuration(text)
	if err != nil || interval < 0 {
		return 0, fmt.Errorf("sync: expected never or a time like 0s or 500ms, got %q", text)
	}
	return interval, nil
}

// OnRequest appends a line where one is wanted before upstream is asked.
func (p *policy) OnRequest(_ context.Context, req *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	if !p.begin {
		return nil, nil
	}
	return nil, p.append(p.recorder.request(req), req.APIName)
}

// OnResponse appends the exchange's line.
func (p *policy) OnResponse(_ context.Context, res *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	return nil, p.append(p.recorder.response(res), res.Request.APIName)
}

// append fails where the line is not written and nothing may go on without it.
func (p *policy) append(line *entry, api string) error {
	err := p.file.append(line)
	if err == nil {
		if p.failing.Swap(false) {
			slog.Info("lines are written again", "policy", p.name, "api", api, "file", p.file.path)
		}
		return nil
	}
	p.lost.Inc(api)
	if !p.failing.Swap(true) {
		slog.Error("a line could not be written", "policy", p.name, "api", api, "error", err.Error(), "refuses", p.refuses)
	}
	if p.refuses {
		return v1alpha.Failf(v1alpha.ClassUnavailable, "a line could not be written: %v", err)
	}
	return nil
}

// Close gives the file back, with all of it on the disk.
func (p *policy) Close() error { return p.file.close() }
