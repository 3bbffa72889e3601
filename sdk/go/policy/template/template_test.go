package template_test

import (
	"strings"
	"testing"

	"gatewright.dev/sdk/policy/template"
	"gatewright.dev/sdk/policy/v1alpha"
)

func TestATextIsMadeOfConstantsAndValues(t *testing.T) {
	req := &v1alpha.RequestContext{APIName: "shop", Query: "a=1&b=x&%62=+y", Metadata: &v1alpha.ExchangeMetadata{}}
	for text, want := range map[string]string{
		"": "", "plain": "plain", "${api.name}": "<shop>", "a-${api.name}-${query.a}": "a-<shop>-<1>", "$${api.name}": "${api.name}",
		"${query.none}": "<>", "${query.b}": "<x,  y>", "$": "$", "{}": "{}", "$$": "$$",
	} {
		parsed, err := template.Parse(text, "")
		if err != nil {
			t.Fatal(err)
		}
		got, whole := parsed.Of(req, func(value string) string { return "<" + value + ">" })
		if got != want || whole != !strings.Contains(want, "<>") {
			t.Errorf("%s: expected %q, got %q, whole %t", text, want, got, whole)
		}
		if constant, ok := parsed.Constant(); ok != !strings.Contains(want, "<") || ok && constant != want {
			t.Errorf("%s: expected a constant: %t, got %q", text, !strings.Contains(want, "<"), constant)
		}
	}
}

func TestEveryPlaceholderIsKnown(t *testing.T) {
	for name := range strings.SplitSeq(strings.NewReplacer(" and ", ", ", "NAME", "x").Replace(template.Known), ", ") {
		if _, err := template.Parse("${"+name+"}", ""); err != nil {
			t.Error(err)
		}
	}
	if _, err := template.Parse("${api.secret}", ""); err == nil || !strings.Contains(err.Error(), template.Known) {
		t.Errorf("expected those that are known, got %v", err)
	}
}

func TestInsertedValuesStayOneValue(t *testing.T) {
	for value, want := range map[string][2]string{
		"plain-._~": {"plain-._~", "plain-._~"}, "a b/c?d#e%": {"a b/c?d#e%", "a%20b%2Fc%3Fd%23e%25"},
		"\r\n\x00\t": {"%0D%0A%00\t", "%0D%0A%00%09"}, "\xff\x7f": {"\xff%7F", "%FF%7F"},
	} {
		if got := [2]string{template.HeaderValue(value), template.URIComponent(value)}; got != want {
			t.Errorf("%q: expected %q, got %q", value, want, got)
		}
		if back := v1alpha.PercentDecoded(template.URIComponent(value)); back != value {
			t.Errorf("expected %q, got %q", value, back)
		}
	}
	if got := template.DecodedForm("a+b%2Bc%zz"); got != "a b+c%zz" {
		t.Errorf("got %q", got)
	}
}
