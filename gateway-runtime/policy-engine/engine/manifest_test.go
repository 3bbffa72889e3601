package engine

import (
	"reflect"
	"testing"

	"gatewright.dev/sdk/policy/v1alpha"
)

// TestTheGoldenManifestIsRead reads what the builder's tests have written.
func TestTheGoldenManifestIsRead(t *testing.T) {
	read, err := readManifest("../../../conformance/messages/manifest.json")
	if err != nil {
		t.Fatal(err)
	}
	runtimes := map[v1alpha.Runtime]int{}
	for _, entry := range read.Policies {
		runtimes[entry.Runtime]++
		for i := range reflect.TypeFor[manifestEntry]().NumField() {
			field := reflect.TypeFor[manifestEntry]().Field(i)
			if reflect.ValueOf(entry).Field(i).IsZero() && (field.Name != "Group" || entry.Runtime == v1alpha.RuntimePython) {
				t.Errorf("%s: expected %s in the manifest, got none", entry.id(), field.Name)
			}
		}
	}
	if runtimes[v1alpha.RuntimeGo] == 0 || runtimes[v1alpha.RuntimePython] == 0 || !read.hasPython() {
		t.Errorf("expected policies of both runtimes, got %v", runtimes)
	}
}

func TestAPythonPolicyMayMoveToAnotherGroup(t *testing.T) {
	manifestOf := func(entries ...manifestEntry) *manifest { return &manifest{Version: 1, Policies: entries} }
	python := manifestEntry{Name: "a", Version: "v1.0.0", Runtime: v1alpha.RuntimePython, Group: "default", DefinitionDigest: "d"}
	moved, compiled := python, python
	moved.Group = "apart"
	compiled.Runtime, compiled.Group = v1alpha.RuntimeGo, ""
	if err := manifestOf(python).checkSuccessor(manifestOf(moved), nil); err != nil {
		t.Error(err)
	}
	if got := manifestOf(python).movedPolicies(manifestOf(moved)); !reflect.DeepEqual(got, []string{"a:v1.0.0"}) {
		t.Errorf("expected the policy to have moved, got %v", got)
	}
	if got := manifestOf(python).movedPolicies(manifestOf(python)); got != nil {
		t.Errorf("expected no policy to have moved, got %v", got)
	}
	if err := manifestOf(python).checkSuccessor(manifestOf(compiled), nil); err == nil {
		t.Error("expected another runtime to be refused")
	}
}
