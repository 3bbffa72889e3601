package operations_test

import (
	"testing"

	"gatewright.dev/policy-engine/internal/operations"
)

// TestNamesLeadToTables by the name itself before any beginning, and by a longer beginning before a shorter one.
func TestNamesLeadToTables(t *testing.T) {
	attachments := &operations.Attachments{}
	tables := map[string]*operations.Table{}
	for api, names := range map[string][]string{"one": {"shop", "route/*"}, "two": {"route/two/*", "shop/*"}} {
		tables[api] = newTable(t, orders())
		if err := attachments.Acquire(api, "digest", names, tables[api]); err != nil {
			t.Fatal(err)
		}
	}
	for name, api := range map[string]string{
		"shop": "one", "route/x": "one", "route/": "one", "route/two/x": "two", "shop/x": "two",
		"": "none", "shopX": "none", "rout": "none", "*": "none",
	} {
		if got := attachments.Find(name); got != tables[api] {
			t.Errorf("%q: expected the table of %s", name, api)
		}
	}
}

// TestTheNewestBundleOfAnAPIHasItsNames until it is released; then the one before has them again.
func TestTheNewestBundleOfAnAPIHasItsNames(t *testing.T) {
	attachments := &operations.Attachments{}
	first, second := newTable(t, orders()), newTable(t, orders())
	acquire := func(api, digest string, table *operations.Table) error {
		return attachments.Acquire(api, digest, []string{"shop"}, table)
	}
	if err := acquire("a", "1", first); err != nil {
		t.Fatal(err)
	}
	if err := acquire("a", "2", second); err != nil || attachments.Find("shop") != second {
		t.Fatalf("expected the second bundle's table, got %v", err)
	}
	if err := acquire("b", "1", first); err == nil || err.Error() != `attached_to: expected names that no other API has, got "shop", which is a's` {
		t.Fatalf("expected a refusal of a name that another API has, got %v", err)
	}
	attachments.Release("a", "2")
	if attachments.Find("shop") != first {
		t.Fatal("expected the first bundle's table")
	}
	attachments.Release("a", "1")
	if attachments.Find("shop") != nil {
		t.Fatal("expected no table")
	}
	if err := acquire("b", "1", second); err != nil || attachments.Find("shop") != second {
		t.Fatalf("expected the other API's table, got %v", err)
	}
}
