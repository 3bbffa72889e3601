package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Envoy is the name of the source whose families are chosen, and bounded.
const Envoy = "envoy"

// What one source may take at a scrape.
const (
	sourceDeadline = time.Second
	sourceBytes    = 32 << 20
	reasonBytes    = 200 // of the body of an answer that is no 200
)

// Source is another process of the node that tells metrics as Prometheus' text over HTTP on a Unix socket.
type Source struct {
	Name   string // its component, "supervisor"
	Socket string // path
	Path   string // "/metrics"
}

// ParseSource reads NAME=unix:PATH[:/path]; /path is where the socket answers, /metrics where it is left out.
func ParseSource(text string) (Source, error) {
	name, address, ok := strings.Cut(text, "=")
	rest, unix := strings.CutPrefix(address, "unix:")
	socket, path, _ := strings.Cut(rest, ":")
	if !ok || !unix || name == "" || !strings.HasPrefix(socket, "/") || path != "" && !strings.HasPrefix(path, "/") {
		return Source{}, fmt.Errorf("expected NAME=unix:PATH[:/path], got %q", text)
	}
	if path == "" {
		path = "/metrics"
	}
	return Source{name, socket, path}, nil
}

// sources asks all sources at once.
type sources struct {
	all []*source
	log *slog.Logger
}

// answer is what a source told, the merge of which names it; families are nil where it told nothing.
type answer struct {
	name     string
	families []*dto.MetricFamily
}

type source struct {
	Source
	client *http.Client
	envoy  *envoyChoice // nil: all is taken

	mutex  sync.Mutex
	reason string // why it told nothing at the last scrape; "" where it told its metrics
}

func newSources(all []Source, log *slog.Logger) *sources {
	s := &sources{log: log}
	for _, each := range all {
		one := &source{Source: each, client: &http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "unix", each.Socket)
			},
			DisableKeepAlives: true,
		}}}
		if each.Name == Envoy {
			one.envoy = newEnvoyChoice()
		}
		s.all = append(s.all, one)
	}
	return s
}

// ask asks all sources. What it returns waits for their answers, a second at most, and has one more answer: which of them
// have answered.
func (s *sources) ask() func() []answer {
	answers := make([]answer, len(s.all))
	up := make([]bool, len(s.all))
	var asked sync.WaitGroup
	for n, one := range s.all {
		asked.Go(func() {
			families, err := one.fetch()
			answers[n], up[n] = answer{one.Name, families}, err == nil
			one.note(err, s.log)
		})
	}
	return func() []answer {
		asked.Wait()
		return append(answers, answer{families: s.told(up, answers)})
	}
}

// fetch asks one source.
func (s *source) fetch() ([]*dto.MetricFamily, error) {
	ctx, cancel := context.WithTimeout(context.Background(), sourceDeadline)
	defer cancel()
	path := s.Path
	if s.envoy != nil {
		path += "?usedonly&filter=" + url.QueryEscape(envoyFilter)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Name+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("expected status 200, got %s%s", response.Status, firstLine(response.Body))
	}
	limited := &io.LimitedReader{R: response.Body, N: sourceBytes}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	parsed, err := parser.TextToMetricFamilies(limited)
	switch {
	case limited.N <= 0:
		return nil, fmt.Errorf("expected at most %d bytes, got more", sourceBytes)
	case err != nil:
		return nil, fmt.Errorf("expected metrics as Prometheus' text: %w", err)
	}
	if s.envoy != nil {
		return s.envoy.choose(parsed), nil
	}
	families := make([]*dto.MetricFamily, 0, len(parsed))
	for _, family := range parsed {
		families = append(families, family)
	}
	return families, nil
}

// firstLine returns ": " and the beginning of the first line of a body; "" where it is empty.
func firstLine(body io.Reader) string {
	beginning, _ := io.ReadAll(io.LimitReader(body, reasonBytes))
	line, _, _ := strings.Cut(string(beginning), "\n")
	if line = strings.ToValidUTF8(strings.TrimSpace(line), ""); line == "" {
		return ""
	}
	return ": " + line
}

// note keeps the reason why a source has told nothing. It is logged once, and so is that the source answers again.
func (s *source) note(err error, log *slog.Logger) {
	reason := ""
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		reason = fmt.Sprintf("no answer within %s", sourceDeadline)
	case err != nil:
		reason = err.Error()
	}
	s.mutex.Lock()
	before := s.reason
	s.reason = reason
	s.mutex.Unlock()
	switch {
	case before == "" && reason != "":
		log.Warn("a source of metrics does not answer; /metrics goes on without it", "source", s.Name, "reason", reason)
	case before != "" && reason == "":
		log.Info("a source of metrics answers again", "source", s.Name)
	}
}

// failing returns the sources that told nothing at the last scrape, each with the reason; nil where all did.
func (s *sources) failing() map[string]string {
	var found map[string]string
	for _, source := range s.all {
		source.mutex.Lock()
		reason := source.reason
		source.mutex.Unlock()
		if reason == "" {
			continue
		}
		if found == nil {
			found = map[string]string{}
		}
		found[source.Name] = reason
	}
	return found
}

func (s *sources) told(up []bool, answers []answer) []*dto.MetricFamily {
	name := namespace + "_metrics_source_up"
	help := "Whether a process of the node has told its metrics at this scrape."
	family := &dto.MetricFamily{Name: &name, Help: &help, Type: dto.MetricType_GAUGE.Enum()}
	for n, one := range answers {
		value := 0.0
		if up[n] {
			value = 1
		}
		family.Metric = append(family.Metric, &dto.Metric{
			Label: []*dto.LabelPair{pair("source", one.name)}, Gauge: &dto.Gauge{Value: &value},
		})
	}
	if len(family.Metric) == 0 {
		return nil
	}
	return []*dto.MetricFamily{family}
}

func pair(name, value string) *dto.LabelPair { return &dto.LabelPair{Name: &name, Value: &value} }
