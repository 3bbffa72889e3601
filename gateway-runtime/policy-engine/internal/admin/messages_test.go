package admin

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"gatewright.dev/policy-engine/internal/notes"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const messages = "../../../../conformance/messages"

// TestAnswersAreTheGoldenMessages writes each answer with every field set; the supervisor's tests read the files.
func TestAnswersAreTheGoldenMessages(t *testing.T) {
	for file, answer := range map[string]any{
		"engine-stats.json": &Stats{}, "engine-executors.json": &Executors{}, "engine-refusal.json": &Refusal{},
		"engine-chains.json": &[]Chain{}, "engine-notes.json": &[]notes.Note{},
	} {
		fill(reflect.ValueOf(answer).Elem(), "")
		got, err := json.MarshalIndent(answer, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, '\n')
		path := filepath.Join(messages, file)
		if *update {
			if err := os.WriteFile(path, got, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: expected what the engine writes, got another file (%v); after a change of the message run go test with -update for this package, and see who reads it\n%s", file, err, got)
		}
	}
}

// TestADeploymentIsTheGoldenMessage reads what the supervisor's tests have written.
func TestADeploymentIsTheGoldenMessage(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(messages, "engine-deployment.json"))
	if err != nil {
		t.Fatal(err)
	}
	var read Deployment
	body := json.NewDecoder(bytes.NewReader(text))
	body.DisallowUnknownFields()
	if err := body.Decode(&read); err != nil {
		t.Fatal(err)
	}
	for i := range reflect.TypeFor[Deployment]().NumField() {
		if reflect.ValueOf(read).Field(i).IsZero() {
			t.Errorf("expected %s in the message, got none", reflect.TypeFor[Deployment]().Field(i).Name)
		}
	}
}

// fill sets everything in a value to something other than zero: a text is its field's name, a number is made of it.
func fill(value reflect.Value, name string) {
	number := len(name)
	for _, c := range name {
		number += int(c) % 100
	}
	if _, is := value.Interface().(time.Time); is {
		value.Set(reflect.ValueOf(time.Date(2026, 11, 26, 17, 0, number%60, 0, time.UTC)))
		return
	}
	switch value.Kind() {
	case reflect.Struct:
		for i := range value.NumField() {
			field := value.Type().Field(i)
			tag, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			fill(value.Field(i), tag)
		}
	case reflect.Slice:
		value.Set(reflect.MakeSlice(value.Type(), 1, 1))
		fill(value.Index(0), name)
	case reflect.Map:
		key, entry := reflect.New(value.Type().Key()).Elem(), reflect.New(value.Type().Elem()).Elem()
		fill(key, "key of "+name)
		fill(entry, name)
		value.Set(reflect.MakeMap(value.Type()))
		value.SetMapIndex(key, entry)
	case reflect.Pointer:
		value.Set(reflect.New(value.Type().Elem()))
		fill(value.Elem(), name)
	case reflect.String:
		value.SetString(name)
	case reflect.Bool:
		value.SetBool(true)
	case reflect.Float64:
		value.SetFloat(float64(number) + 0.5)
	default:
		if value.CanInt() {
			value.SetInt(int64(number))
		} else {
			value.SetUint(uint64(number)) //nolint:gosec // small
		}
	}
}
