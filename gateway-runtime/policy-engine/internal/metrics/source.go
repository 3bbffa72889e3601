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

// Envoy is the name of the source whose families are selected, and bounded.
const Envoy = "envoy"

// The limits of one source at a scrape.
const (
	sourceDeadline = time.Second
	sourceBytes    = 32 << 20
	reasonBytes    = 200 // of the body of a response other than 200
)

// Source is another process of the node with metrics in Prometheus' text format over HTTP on a Unix socket.
type Source struct {
	Name   string // its component, "supervisor"
	Socket string // path
	Path   string // "/metrics"
}

// ParseSource parses NAME=unix:PATH[:/path]; the default of /path is /metrics.
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

// sources scrapes all sources at once.
type sources struct {
	all []*source
	log *slog.Logger
}

// answer is the result of one source, by its name; families are nil if it failed.
type answer struct {
	name     string
	families []*dto.MetricFamily
}

type source struct {
	Source
	client *http.Client
	envoy  *envoyChoice // nil: all families are exported

	mutex  sync.Mutex
	reason string // why the last scrape failed; "": it did not
}

func newSources(configured []Source, log *slog.Logger) *sources {
	s := &sources{log: log}
	for _, config := range configured {
		source := &source{Source: config, client: &http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "unix", config.Socket)
			},
			DisableKeepAlives: true,
		}}}
		if config.Name == Envoy {
			source.envoy = newEnvoyChoice()
		}
		s.all = append(s.all, source)
	}
	return s
}

// ask starts the scrape of all sources. The function that it returns waits for the answers, a second at most, and adds one
// more: which sources have answered.
func (s *sources) ask() func() []answer {
	answers := make([]answer, len(s.all))
	up := make([]bool, len(s.all))
	var requests sync.WaitGroup
	for n, source := range s.all {
		requests.Go(func() {
			families, err := source.fetch()
			answers[n], up[n] = answer{source.Name, families}, err == nil
			source.note(err, s.log)
		})
	}
	return func() []answer {
		requests.Wait()
		return append(answers, answer{families: s.upFamily(up, answers)})
	}
}

// fetch scrapes one source.
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

// firstLine returns ": " and the beginning of the first line of a body; "" if it is empty.
func firstLine(body io.Reader) string {
	beginning, _ := io.ReadAll(io.LimitReader(body, reasonBytes))
	line, _, _ := strings.Cut(string(beginning), "\n")
	if line = strings.ToValidUTF8(strings.TrimSpace(line), ""); line == "" {
		return ""
	}
	return ": " + line
}

// note sets the reason why a source failed. It logs the first failure, and that the source answers again.
func (s *source) note(err error, log *slog.Logger) {
	reason := ""
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		reason = fmt.Sprintf("no answer within %s", sourceDeadline)
	case err != nil:
		reason = err.Error()
	}
	s.mutex.Lock()
	previous := s.reason
	s.reason = reason
	s.mutex.Unlock()
	switch {
	case previous == "" && reason != "":
		log.Warn("a source of metrics does not answer; /metrics goes on without it", "source", s.Name, "reason", reason)
	case previous != "" && reason == "":
		log.Info("a source of metrics answers again", "source", s.Name)
	}
}

// failing returns the sources that failed at the last scrape, each with the reason; nil if none did.
func (s *sources) failing() map[string]string {
	var reasons map[string]string
	for _, source := range s.all {
		source.mutex.Lock()
		reason := source.reason
		source.mutex.Unlock()
		if reason == "" {
			continue
		}
		if reasons == nil {
			reasons = map[string]string{}
		}
		reasons[source.Name] = reason
	}
	return reasons
}

func (s *sources) upFamily(up []bool, answers []answer) []*dto.MetricFamily {
	name := namespace + "_metrics_source_up"
	help := "Whether a process of the node has answered this scrape."
	family := &dto.MetricFamily{Name: &name, Help: &help, Type: dto.MetricType_GAUGE.Enum()}
	for n, answer := range answers {
		value := 0.0
		if up[n] {
			value = 1
		}
		family.Metric = append(family.Metric, &dto.Metric{
			Label: []*dto.LabelPair{pair("source", answer.name)}, Gauge: &dto.Gauge{Value: &value},
		})
	}
	if len(family.Metric) == 0 {
		return nil
	}
	return []*dto.MetricFamily{family}
}

func pair(name, value string) *dto.LabelPair { return &dto.LabelPair{Name: &name, Value: &value} }
