package notes

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Targets are the targets of Envoy's clusters, by the cluster's name.
type Targets map[string][]Target

// Target is one target of a cluster. The connections are counted from Envoy's start.
type Target struct {
	Address    string // IP:PORT, or the path of a Unix socket
	FailsCheck bool   // its active health check fails
	Ejected    bool   // as an outlier
	Tried      uint64 // connections that Envoy has tried to open
	Failed     uint64 // of these, those that failed
	Open       uint64 // connections that are open now
}

// upstreamNotes reports the faults of each API's upstreams. It skips clusters that Envoy does not have yet.
func upstreamNotes(clusters map[string][]string, targets Targets) []Note {
	var result []Note
	for _, api := range slices.Sorted(maps.Keys(clusters)) {
		var notes []Note
		for _, cluster := range clusters[api] {
			if statuses, ok := targets[cluster]; ok {
				if note, failing := clusterNote(api, statuses); failing {
					notes = append(notes, note)
				}
			}
		}
		slices.SortFunc(notes, byTitle)
		result = append(result, slices.Compact(notes)...)
	}
	return result
}

func unresolvedNotes(unresolved map[string]string) []Note {
	var notes []Note
	for _, api := range slices.Sorted(maps.Keys(unresolved)) {
		notes = append(notes, unresolvedNote(api, fmt.Sprintf("the name %s does not resolve", unresolved[api])))
	}
	return notes
}

func unresolvedNote(api, reason string) Note {
	return Note{
		Severity: Warn, Code: "upstream_unresolved", Party: Upstream, About: About{Kind: "api", Name: api},
		Title: fmt.Sprintf("the upstream of API %s has no address", api), Reason: reason,
		Cure: "correct the name in spec.upstream, or the node's DNS",
	}
}

func clusterNote(api string, targets []Target) (Note, bool) {
	note := Note{Severity: Warn, Party: Upstream, About: About{Kind: "api", Name: api}}
	unused, unreachable := describe(targets, unusedWords), describe(targets, unreachableWords)
	switch {
	case len(targets) == 0:
		return unresolvedNote(api, "its name does not resolve"), true
	case len(unused) > 0:
		note.Code, note.Title = "upstream_unhealthy", fmt.Sprintf("the upstream of API %s has targets that get no requests", api)
		note.Reason = fmt.Sprintf("%s: %d of %d targets left", strings.Join(unused, "; "), len(targets)-len(unused), len(targets))
		note.Cure = "check that the targets run, and what they answer; clients get 503 while no target is left"
	case len(unreachable) == len(targets):
		note.Code, note.Title = "upstream_unreachable", fmt.Sprintf("the upstream of API %s cannot be reached", api)
		note.Reason = strings.Join(unreachable, "; ")
		note.Cure = "check that it runs, that the node can reach it, and that its URL in the API is right; clients get 503 until then"
	default:
		return Note{}, false
	}
	return note, true
}

func describe(targets []Target, words func(*Target) string) []string {
	var descriptions []string
	for n := range targets {
		if text := words(&targets[n]); text != "" {
			descriptions = append(descriptions, text)
		}
	}
	return descriptions
}

// unusedWords describes why Envoy sends a target no requests while its pool has others; "": it does.
func unusedWords(target *Target) string {
	switch {
	case target.FailsCheck:
		return target.Address + " fails its health check"
	case target.Ejected:
		return target.Address + " is ejected for its failures"
	default:
		return ""
	}
}

// unreachableWords describes the failed connections to a target; "" if one is open.
func unreachableWords(target *Target) string {
	if target.Failed == 0 || target.Open > 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d connections to its upstream %s failed, none is open", target.Failed, target.Tried, target.Address)
}
