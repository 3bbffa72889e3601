package binding_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// BenchmarkExchange measures the CPU time of Envoy's process for an exchange of 64 connections: without a policy, with one on the
// worker, with one in a goroutine. cpu-µs/op has Envoy's own work in it.
func BenchmarkExchange(b *testing.B) {
	for _, chain := range []string{"plain", "headers", "goroutine-headers"} {
		b.Run(chain, func(b *testing.B) {
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
			defer client.CloseIdleConnections()
			b.SetParallelism(clients / 2)
			before := shared.cpu()
			b.RunParallel(func(next *testing.PB) {
				for next.Next() {
					request, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "http://"+shared.address+"/"+chain+"/x", nil)
					check(err)
					response, err := client.Do(request)
					check(err)
					_, _ = io.Copy(io.Discard, response.Body)
					_ = response.Body.Close()
				}
			})
			b.ReportMetric(float64(shared.cpu()-before)/float64(b.N)/float64(time.Microsecond), "cpu-µs/op")
		})
	}
}

// cpu is the CPU time that Envoy's process has taken.
func (e *envoy) cpu() time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", e.process.Process.Pid))
	check(err)
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+2:]))
	ticks := 0
	for _, field := range fields[11:13] { // utime and stime, in 1/100 s
		count, err := strconv.Atoi(field)
		check(err)
		ticks += count
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
