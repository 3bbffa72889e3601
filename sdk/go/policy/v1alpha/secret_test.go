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
	var parameters struct {
		Key    v1alpha.Secret
		Others []*v1alpha.Secret
	}
	params := v1alpha.Params(`{"key":{"secretRef":"upstream-key","value":"` + planted + `"},"others":[{"secretRef":"","value":"` + planted + `"}]}`)
	if err := params.Decode(&parameters); err != nil {
		t.Fatal(err)
	}
	if parameters.Key.Reveal() != planted || parameters.Key.Name() != "upstream-key" || parameters.Others[0].Reveal() != planted {
		t.Errorf("got %q", parameters.Key.Reveal())
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("it", "key", parameters.Key, "all", parameters, "pointer", parameters.Others)
	encoded, err := json.Marshal(parameters)
	if err != nil {
		t.Fatal(err)
	}
	shown := []string{log.String(), string(encoded), fmt.Errorf("no: %w %v", fmt.Errorf("%s", parameters.Key), parameters).Error()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%20s"} {
		shown = append(shown, fmt.Sprintf(verb, parameters.Key), fmt.Sprintf(verb, &parameters.Key), fmt.Sprintf(verb, parameters))
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
