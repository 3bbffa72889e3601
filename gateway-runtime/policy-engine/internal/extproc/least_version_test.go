package extproc

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestTheLeastEnvoyIsThatOfTheDocs: operators choose an Envoy by the page.
func TestTheLeastEnvoyIsThatOfTheDocs(t *testing.T) {
	const page = "../../../../docs/how-to/bring-your-own-envoy.md"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## Which Envoy\n\n")
	if want := fmt.Sprintf("1.%d or newer: ", leastMinor); !found || !strings.HasPrefix(section, want) {
		t.Errorf("expected the section \"Which Envoy\" of %s to begin with %q, as the engine refuses older ones", page, want)
	}
}
