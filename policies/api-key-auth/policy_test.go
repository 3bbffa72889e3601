package apikeyauth_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	apikeyauth "gatewright.dev/policies/api-key-auth"
	"gatewright.dev/sdk/policy/v1alpha"
)

var _ v1alpha.Factory = apikeyauth.GetPolicy

const (
	partner = "partner-key-of-128-bits-and-more"
	staff   = "staff-key-of-128-bits-and-more"
	old     = "old-key-of-128-bits-and-more"
)

func hash(key string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(key))) }

var keys = fmt.Sprintf(`"keys":[{"hash":%q,"owner":"partner","scopes":["read"]},
	{"key":{"secretRef":"staff","value":%q},"owner":"staff","scopes":["read","write"],"expires":"2999-01-01T00:00:00Z"},
	{"hash":%q,"owner":"old","expires":"2020-01-01T00:00:00Z"}]`, hash(partner), staff, hash(old))

func policyWith(t *testing.T, more string) v1alpha.Policy {
	t.Helper()
	made, err := apikeyauth.GetPolicy(v1alpha.Metadata{}, v1alpha.Params(`{`+keys+`,"realm":"shop"`+more+`}`))
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func ask(t *testing.T, policy v1alpha.Policy, query string, headers ...v1alpha.Header) (v1alpha.RequestAction, *v1alpha.ExchangeMetadata) {
	t.Helper()
	metadata := &v1alpha.ExchangeMetadata{}
	action, err := policy.OnRequest(t.Context(), &v1alpha.RequestContext{Headers: headers, Query: query, Metadata: metadata})
	if err != nil {
		t.Fatal(err)
	}
	return action, metadata
}

func header(name, value string) v1alpha.Header { return v1alpha.Header{Name: name, Value: value} }

// status returns the status that a client receives; 0: the request passes.
func status(action v1alpha.RequestAction) int {
	if refused, ok := action.(*v1alpha.ImmediateResponse); ok {
		return refused.StatusCode
	}
	return 0
}

const everywhere = `,"header":"X-API-Key","query":"api_key","cookie":"key"`

func TestAdmittedClients(t *testing.T) {
	for name, c := range map[string]struct {
		more, query string
		headers     []v1alpha.Header
		want        int
	}{
		"by header":                 {everywhere, "", []v1alpha.Header{header("x-api-key", partner)}, 0},
		"by query":                  {everywhere, "a=1&api_key=" + partner, nil, 0},
		"by query, encoded":         {everywhere, "api%5fkey=partner%2Dkey-of-128-bits-and-more", nil, 0},
		"by cookie":                 {everywhere, "", []v1alpha.Header{header("cookie", "a=1; key="+partner)}, 0},
		"one that is given itself":  {everywhere, "", []v1alpha.Header{header("x-api-key", staff)}, 0},
		"no key":                    {everywhere, "a=1", []v1alpha.Header{header("cookie", "a=1")}, 401},
		"another key":               {everywhere, "", []v1alpha.Header{header("x-api-key", partner+"x")}, 401},
		"an empty key":              {everywhere, "api_key", []v1alpha.Header{header("cookie", "key=")}, 401},
		"its hash":                  {everywhere, "", []v1alpha.Header{header("x-api-key", hash(partner))}, 401},
		"expired":                   {everywhere, "", []v1alpha.Header{header("x-api-key", old)}, 401},
		"twice":                     {everywhere, "", []v1alpha.Header{header("x-api-key", partner), header("x-api-key", partner)}, 401},
		"at two places":             {everywhere, "api_key=" + partner, []v1alpha.Header{header("x-api-key", partner)}, 401},
		"twice in the query":        {everywhere, "api_key=" + partner + "&api_key=x", nil, 401},
		"giant":                     {everywhere, "", []v1alpha.Header{header("x-api-key", strings.Repeat(partner, 1000))}, 401},
		"no UTF-8":                  {everywhere, "api_key=%ff%00%zz", nil, 401},
		"not where none is":         {`,"header":"x-api-key"`, "x-api-key=" + partner, []v1alpha.Header{header("cookie", "x-api-key="+partner)}, 401},
		"with the scopes":           {everywhere + `,"requiredScopes":["read","write"]`, "", []v1alpha.Header{header("x-api-key", staff)}, 0},
		"without one of the scopes": {everywhere + `,"requiredScopes":["read","write"]`, "", []v1alpha.Header{header("x-api-key", partner)}, 403},
	} {
		action, metadata := ask(t, policyWith(t, c.more), c.query, c.headers...)
		if got := status(action); got != c.want {
			t.Errorf("%s: expected %d, got %d", name, c.want, got)
		}
		if _, has := metadata.Get("identity"); has != (c.want == 0) {
			t.Errorf("%s: identity %v", name, has)
		}
		if refused, ok := action.(*v1alpha.ImmediateResponse); ok {
			text := fmt.Sprintf("%v %s", refused.Headers, refused.Body)
			if c.want == 401 && !strings.Contains(text, `ApiKey realm="shop"`) || strings.Contains(text, "key-of-128") {
				t.Errorf("%s: %s", name, text)
			}
		}
	}
}

// basic is the header of basic authentication.
func basic(user, password string) v1alpha.Header {
	return header("authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
}

func TestAKeyIsThePasswordOfBasicAuthentication(t *testing.T) {
	const both = `,"header":"x-api-key","basic":true`
	for name, c := range map[string]struct {
		more    string
		headers []v1alpha.Header
		want    int
	}{
		"its owner":              {both, []v1alpha.Header{basic("partner", partner)}, 0},
		"another owner":          {both, []v1alpha.Header{basic("staff", partner)}, 401},
		"without an owner":       {both, []v1alpha.Header{basic("", partner)}, 401},
		"another key":            {both, []v1alpha.Header{basic("partner", partner+"x")}, 401},
		"expired":                {both, []v1alpha.Header{basic("old", old)}, 401},
		"in lower case":          {both, []v1alpha.Header{header("authorization", strings.Replace(basic("partner", partner).Value, "Basic ", "basic  ", 1))}, 0},
		"no base64":              {both, []v1alpha.Header{header("authorization", "Basic !")}, 401},
		"nothing":                {both, []v1alpha.Header{header("authorization", "Basic")}, 401},
		"without a colon":        {both, []v1alpha.Header{header("authorization", "Basic cGFydG5lcg==")}, 401},
		"twice":                  {both, []v1alpha.Header{basic("partner", partner), basic("partner", partner)}, 401},
		"beside a token":         {both, []v1alpha.Header{basic("partner", partner), header("authorization", "Bearer x")}, 401},
		"beside the key":         {both, []v1alpha.Header{basic("partner", partner), header("x-api-key", partner)}, 401},
		"a token beside the key": {both, []v1alpha.Header{header("authorization", "Bearer x"), header("x-api-key", partner)}, 0},
		"not where it is off":    {`,"header":"x-api-key"`, []v1alpha.Header{basic("partner", partner)}, 401},
		"as the only place":      {`,"basic":true`, []v1alpha.Header{basic("staff", staff)}, 0},
	} {
		action, metadata := ask(t, policyWith(t, c.more), "", c.headers...)
		if got := status(action); got != c.want {
			t.Errorf("%s: expected %d, got %d", name, c.want, got)
		}
		if _, has := metadata.Get("identity"); has != (c.want == 0) {
			t.Errorf("%s: identity %v", name, has)
		}
	}
}

func TestBasicAuthenticationIsRemovedAndNoOtherScheme(t *testing.T) {
	policy := policyWith(t, `,"header":"x-api-key","basic":true`)
	for name, c := range map[string]struct {
		headers []v1alpha.Header
		want    []string
	}{
		"basic":          {[]v1alpha.Header{basic("partner", partner)}, []string{"authorization"}},
		"another scheme": {[]v1alpha.Header{header("authorization", "Bearer x"), header("x-api-key", partner)}, []string{"x-api-key"}},
	} {
		action, _ := ask(t, policy, "", c.headers...)
		if made, ok := action.(*v1alpha.UpstreamRequestModifications); !ok || !slices.Equal(made.Headers.Remove, c.want) {
			t.Errorf("%s: expected %v to be removed, got %+v", name, c.want, action)
		}
	}
}

func TestTheChallengeNamesTheWaysThereAre(t *testing.T) {
	for more, want := range map[string]string{
		`,"header":"x-api-key"`:              `ApiKey realm="shop"`,
		`,"header":"x-api-key","basic":true`: `ApiKey realm="shop", Basic realm="shop", charset="UTF-8"`,
		`,"basic":true`:                      `Basic realm="shop", charset="UTF-8"`,
	} {
		action, _ := ask(t, policyWith(t, more), "")
		refused := action.(*v1alpha.ImmediateResponse)
		if got := refused.Headers[len(refused.Headers)-1]; got.Name != "www-authenticate" || got.Value != want {
			t.Errorf("%s: expected %s, got %+v", more, want, got)
		}
	}
}

func TestTheOwnerOfTheKeyIsTheIdentity(t *testing.T) {
	_, metadata := ask(t, policyWith(t, everywhere), "", header("x-api-key", partner))
	if got, err := metadata.JSON(); err != nil || string(got) != `{"identity":{"method":"api-key","scopes":["read"],"subject":"partner"}}` {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestOnlyTheKeyIsRemovedFromTheUpstreamRequest(t *testing.T) {
	policy := policyWith(t, everywhere+`,"ownerHeader":"X-Owner"`)
	action, _ := ask(t, policy, "", header("x-api-key", partner), header("x-owner", "staff"))
	made := action.(*v1alpha.UpstreamRequestModifications)
	if fmt.Sprint(made.Headers) != "{[x-api-key] [{x-owner partner}] []}" || made.Query != nil {
		t.Errorf("got %+v", made)
	}
	action, _ = ask(t, policy, "a=%31&api_key="+partner+"&b=;+c&d")
	if made = action.(*v1alpha.UpstreamRequestModifications); made.Query == nil || *made.Query != "a=%31&b=;+c&d" {
		t.Errorf("got %+v", made)
	}
	action, _ = ask(t, policy, "api_key="+partner)
	if made = action.(*v1alpha.UpstreamRequestModifications); made.Query == nil || *made.Query != "" {
		t.Errorf("got %+v", made)
	}
	action, _ = ask(t, policy, "", header("cookie", "a=1; key="+partner+"; b=2"), header("cookie", "c=3"))
	if made = action.(*v1alpha.UpstreamRequestModifications); fmt.Sprint(made.Headers.Set) != "[{cookie a=1; b=2} {cookie c=3} {x-owner partner}]" {
		t.Errorf("got %+v", made)
	}
	action, _ = ask(t, policy, "", header("cookie", "key="+partner))
	if made = action.(*v1alpha.UpstreamRequestModifications); fmt.Sprint(made.Headers.Remove) != "[cookie]" {
		t.Errorf("got %+v", made)
	}
	if action, _ = ask(t, policyWith(t, everywhere+`,"forward":true`), "", header("x-api-key", partner)); action != nil {
		t.Errorf("expected the request as it came, got %+v", action)
	}
}

func TestAListIsReadLineByLineOrAsJSON(t *testing.T) {
	lines := fmt.Sprintf("# partners\n\n{\"hash\": %q, \"owner\": \"partner\"}\r\n{\"key\": %q, \"owner\": \"staff\"}", hash(partner), staff)
	list := fmt.Sprintf(`[{"hash": %q, "owner": "partner"}, {"key": %q, "owner": "staff"}]`, hash(partner), staff)
	for _, text := range []string{lines, list} {
		policy, err := apikeyauth.GetPolicy(v1alpha.Metadata{}, v1alpha.Params(fmt.Sprintf(`{"keyLists":[{"secretRef":"list","value":%q}],"header":"x-api-key"}`, text)))
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{partner, staff} {
			if action, _ := ask(t, policy, "", header("x-api-key", key)); status(action) != 0 {
				t.Errorf("%s: %d", key, status(action))
			}
		}
	}
}

func TestMistakesAreReportedWithoutTheKey(t *testing.T) {
	for params, want := range map[string]string{
		`{"keys":[{"hash":"sha256:12","owner":"a"}],"header":"k"}`:                                                      "keys[0]: hash: expected sha256: and 64 hex digits",
		`{"keys":[{"key":{"secretRef":"a","value":"short-planted"},"owner":"a"}],"header":"k"}`:                         "keys[0]: key: expected at least 22 characters",
		`{"keys":[{"owner":"a"}],"header":"k"}`:                                                                         "expected hash or key",
		`{` + keys + `}`:                                                                                                "expected a place for the key",
		`{` + keys + `,"header":"x-k","ownerHeader":"X-K"}`:                                                             "expected another header",
		`{"header":"k","keyLists":[{"secretRef":"l","value":"# none\n"}]}`:                                              "expected a key, got none",
		`{"header":"k","keyLists":[{"secretRef":"l","value":"planted owner"}]}`:                                         "keyLists[0]: line 1: expected JSON like",
		`{"header":"k","keyLists":[{"secretRef":"l","value":"[{\"planted\": 1}]"}]}`:                                    "keyLists[0]: expected JSON like",
		`{"header":"k","keyLists":[{"secretRef":"l","value":"{\"key\":\"` + partner + `\",\"owner\":\"a\\nb\"}"}]}`:     "owner: expected",
		`{"header":"k","keys":[{"hash":"` + hash(staff) + `","owner":"a"},{"hash":"` + hash(staff) + `","owner":"b"}]}`: "expected another key for b than that of a",
		`{"header":"k","keys":[{"hash":"` + hash(staff) + `","owner":"a","expires":"2027-13-01T00:00:00Z"}]}`:           "expires: expected a time",
	} {
		_, err := apikeyauth.GetPolicy(v1alpha.Metadata{}, v1alpha.Params(params))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "planted") || strings.Contains(err.Error(), partner) {
			t.Errorf("%s: expected %q, got %v", params, want, err)
		}
	}
}

// TestOnlyTheKeyIsRemovedFromAnyRequest: the rest is the request without the key.
func TestOnlyTheKeyIsRemovedFromAnyRequest(t *testing.T) {
	policy := policyWith(t, everywhere)
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // no secret
	for range 500 {
		parts := make([]string, random.IntN(5))
		for i := range parts {
			for range random.IntN(7) {
				parts[i] += string("abc%=;+."[random.IntN(8)])
			}
		}
		with := slices.Insert(slices.Clone(parts), random.IntN(len(parts)+1), "api_key="+partner)
		action, _ := ask(t, policy, strings.Join(with, "&"))
		made, ok := action.(*v1alpha.UpstreamRequestModifications)
		if !ok || made.Query == nil || *made.Query != strings.Join(parts, "&") {
			t.Fatalf("expected %q, got %+v", strings.Join(parts, "&"), action)
		}
	}
}

// known are consumers whose keys are their names.
type known struct {
	v1alpha.Consumers
	consumers map[[sha256.Size]byte]*v1alpha.Consumer
}

func (k known) ByKey(digest [sha256.Size]byte) *v1alpha.Consumer { return k.consumers[digest] }

func knownOf(consumers ...*v1alpha.Consumer) known {
	k := known{consumers: map[[sha256.Size]byte]*v1alpha.Consumer{}}
	for _, consumer := range consumers {
		k.consumers[sha256.Sum256([]byte(consumer.Name))] = consumer
	}
	return k
}

func TestConsumersOfTheController(t *testing.T) {
	consumers := knownOf(&v1alpha.Consumer{Name: "acme", Plan: "gold", Labels: map[string]string{"team": "a"}}, &v1alpha.Consumer{Name: "beta"})
	for params, want := range map[string][3]int{ // of acme's key, beta's, and one that is in the parameters
		`{"consumers":true}`:                           {0, 0, 401},
		`{"consumers":{"labels":{"team":"a"}}}`:        {0, 401, 401},
		`{"consumers":{"labels":{"team":"b"}}}`:        {401, 401, 401},
		`{"consumers":true,` + keys + `}`:              {0, 0, 0},
		`{"consumers":false,` + keys + `}`:             {401, 401, 0},
		`{"consumers":true,"requiredScopes":["read"]}`: {403, 403, 401},
		`{` + keys + `}`:                               {401, 401, 0},
	} {
		made, err := apikeyauth.GetPolicy(v1alpha.Metadata{Consumers: consumers}, v1alpha.Params(params[:len(params)-1]+`,"header":"x-api-key"}`))
		if err != nil {
			t.Fatal(err)
		}
		if _, metadata := ask(t, made, "", header("x-api-key", "acme")); want[0] == 0 {
			if identity, _ := v1alpha.IdentityOf(metadata); identity.Plan != "gold" || identity.Labels["team"] != "a" {
				t.Errorf("%s: expected acme's plan and labels, got %+v", params, identity)
			}
		}
		for user, want := range map[string]int{"acme": want[0], "beta": 401} {
			basicOnly, err := apikeyauth.GetPolicy(v1alpha.Metadata{Consumers: consumers}, v1alpha.Params(params[:len(params)-1]+`,"basic":true}`))
			if err != nil {
				t.Fatal(err)
			}
			if action, _ := ask(t, basicOnly, "", basic(user, "acme")); status(action) != want {
				t.Errorf("%s: expected %d for acme's key as %s's password, got %d", params, want, user, status(action))
			}
		}
		for i, key := range []string{"acme", "beta", partner} {
			action, metadata := ask(t, made, "", header("x-api-key", key))
			if status(action) != want[i] {
				t.Errorf("%s: expected %d for %s, got %d", params, want[i], key, status(action))
			}
			identity, _ := v1alpha.IdentityOf(metadata)
			if key == "acme" && want[i] == 0 && (identity.Subject != "acme" || identity.Consumer != "acme" || identity.Plan != "gold" || identity.Method != "api-key") {
				t.Errorf("%s: expected the identity of acme, got %+v", params, identity)
			}
		}
	}
}

func TestAChangeOfAConsumerCountsWithTheNextRequest(t *testing.T) {
	consumers := knownOf()
	made, err := apikeyauth.GetPolicy(v1alpha.Metadata{Consumers: consumers}, v1alpha.Params(`{"consumers":true,"header":"x-api-key"}`))
	if err != nil {
		t.Fatal(err)
	}
	acme := &v1alpha.Consumer{Name: "acme"}
	for _, want := range []int{401, 0, 401} {
		if action, _ := ask(t, made, "", header("x-api-key", "acme")); status(action) != want {
			t.Errorf("expected %d, got %d", want, status(action))
		}
		if want == 401 {
			consumers.consumers[sha256.Sum256([]byte("acme"))] = acme
		} else {
			delete(consumers.consumers, sha256.Sum256([]byte("acme")))
		}
	}
}
