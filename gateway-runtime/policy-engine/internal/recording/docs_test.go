package recording_test

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gatewright.dev/policy-engine/internal/recording"
)

// TestThePageListsTheMembersOfTheTypes: exactly those in the tables of docs/reference/recordings.md.
func TestThePageListsTheMembersOfTheTypes(t *testing.T) {
	page, err := os.ReadFile("../../../../docs/reference/recordings.md")
	if err != nil {
		t.Fatal(err)
	}
	for heading, types := range map[string][]any{
		"## An exchange":  {recording.Exchange{}},
		"## A message":    {recording.Message{}, recording.Body{}},
		"## An execution": {recording.Execution{}, recording.Change{}},
		"## Filters":      {recording.Filter{}},
	} {
		_, section, _ := strings.Cut(string(page), heading+"\n")
		section, _, _ = strings.Cut(section, "\n## ")
		var want []string
		for _, typ := range types {
			for i := range reflect.TypeOf(typ).NumField() {
				name, _, _ := strings.Cut(reflect.TypeOf(typ).Field(i).Tag.Get("json"), ",")
				want = append(want, name)
			}
		}
		slices.Sort(want)
		if got := membersOf(section); !slices.Equal(got, want) {
			t.Errorf("%s: expected %v, got %v", heading, want, got)
		}
	}
}

var name = regexp.MustCompile("`([a-zA-Z0-9]+)`")

// membersOf are the names in the first column of a section's tables.
func membersOf(section string) []string {
	var found []string
	for line := range strings.Lines(section) {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		first, _, _ := strings.Cut(line[2:], " | ")
		for _, match := range name.FindAllStringSubmatch(first, -1) {
			found = append(found, match[1])
		}
	}
	slices.Sort(found)
	return found
}
