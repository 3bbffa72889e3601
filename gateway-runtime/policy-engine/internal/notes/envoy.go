package notes

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// The limits of a request to Envoy.
const (
	envoyDeadline = time.Second
	envoyBytes    = 64 << 20
)

// Envoy reads targets from Envoy's admin interface, at a Unix socket. The zero value reads none.
type Envoy struct{ Socket string }

// Targets asks Envoy for the targets of all its clusters.
func (e Envoy) Targets(ctx context.Context) (Targets, error) {
	if e.Socket == "" {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, envoyDeadline)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://envoy/clusters?format=json", http.NoBody)
	if err != nil {
		return nil, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", e.Socket)
	}}}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("expected status 200, got %s", response.Status)
	}
	return ReadTargets(io.LimitReader(response.Body, envoyBytes))
}

// clusterStatuses is the part of envoy.admin.v3.Clusters that is needed; the whole message is far larger.
type clusterStatuses struct {
	Clusters []struct {
		Name  string       `json:"name"`
		Hosts []hostStatus `json:"host_statuses"`
	} `json:"cluster_statuses"`
}

type hostStatus struct {
	Address struct {
		Socket struct {
			Address string `json:"address"`
			Port    int    `json:"port_value"`
		} `json:"socket_address"`
		Pipe struct {
			Path string `json:"path"`
		} `json:"pipe"`
	} `json:"address"`
	Stats []struct {
		Name  string `json:"name"`
		Value string `json:"value"` // absent: 0
	} `json:"stats"`
	Health struct {
		FailsCheck bool `json:"failed_active_health_check"`
		Ejected    bool `json:"failed_outlier_check"`
	} `json:"health_status"`
}

// ReadTargets reads Envoy's answer to /clusters?format=json.
func ReadTargets(answer io.Reader) (Targets, error) {
	var read clusterStatuses
	if err := json.NewDecoder(answer).Decode(&read); err != nil {
		return nil, fmt.Errorf("expected Envoy's clusters as JSON: %w", err)
	}
	targets := make(Targets, len(read.Clusters))
	for n := range read.Clusters {
		cluster := &read.Clusters[n]
		targets[cluster.Name] = make([]Target, len(cluster.Hosts))
		for m := range cluster.Hosts {
			targets[cluster.Name][m] = cluster.Hosts[m].target()
		}
	}
	return targets, nil
}

func (h *hostStatus) target() Target {
	target := Target{Address: h.Address.Pipe.Path, FailsCheck: h.Health.FailsCheck, Ejected: h.Health.Ejected}
	if target.Address == "" {
		target.Address = net.JoinHostPort(h.Address.Socket.Address, strconv.Itoa(h.Address.Socket.Port))
	}
	for _, stat := range h.Stats {
		value, _ := strconv.ParseUint(stat.Value, 10, 64)
		switch stat.Name {
		case "cx_total":
			target.Tried = value
		case "cx_connect_fail":
			target.Failed = value
		case "cx_active":
			target.Open = value
		}
	}
	return target
}
