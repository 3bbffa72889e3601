package v1alpha_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"gatewright.dev/sdk/policy/v1alpha"
)

const planted = "hunter2-planted"

func TestASecretIsDecodedFromParametersAndNeverShown(t *testing.T) {
	var given struct {
		Key    v1alpha.Secret
		Others []*v1alpha.Secret
	}
	params := v1alpha.Params(`{"key":{"secretRef":"upstream-key","value":"` + planted + `"},"others":[{"secretRef":"","value":"` + planted + `"}]}`)
	if err := params.Decode(&given); err != nil {
		t.Fatal(err)
	}
	if given.Key.Reveal() != planted || given.Key.Name() != "upstream-key" || given.Others[0].Reveal() != planted {
		t.Errorf("got %q", given.Key.Reveal())
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("it", "key", given.Key, "all", given, "pointer", given.Others)
	encoded, err := json.Marshal(given)
	if err != nil {
		t.Fatal(err)
	}
	shown := []string{log.String(), string(encoded), fmt.Errorf("no: %w %v", fmt.Errorf("%s", given.Key), given).Error()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%20s"} {
		shown = append(shown, fmt.Sprintf(verb, given.Key), fmt.Sprintf(verb, &given.Key), fmt.Sprintf(verb, given))
	}
	for _, text := range shown {
		if strings.Contains(text, planted) || strings.Contains(text, fmt.Sprintf("%x", planted)) {
			t.Error(text)
		}
	}
	if !strings.Contains(shown[0], "upstream-key") || !strings.Contains(shown[1], "upstream-key") {
		t.Errorf("expected the name in %q", shown[:2])
	}
}

func TestASecretMatchesItsText(t *testing.T) {
	secret := v1alpha.NewSecret(planted, "name")
	if !secret.Matches(planted) || secret.Matches(planted+"x") || secret.Matches("") || !v1alpha.NewSecret("", "").Matches("") {
		t.Error("expected it to match its text alone")
	}
}

func TestAnInvalidSecretIsRefusedWithoutQuotingIt(t *testing.T) {
	for _, text := range []string{`"` + planted + `"`, `{"secretRef":"` + planted + `"}`, `{"value":"` + planted + `"}`, `5`, `{"secretRef":1,"value":"x"}`} {
		var secret v1alpha.Secret
		err := json.Unmarshal([]byte(text), &secret)
		if err == nil || strings.Contains(err.Error(), planted) || !strings.Contains(err.Error(), "format: secret") {
			t.Errorf("%s: got %v", text, err)
		}
	}
}
