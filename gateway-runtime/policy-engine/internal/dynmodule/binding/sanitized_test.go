package binding_test

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	servicev3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// TestTheHooksUnderSanitizers runs the hooks between a fake of Envoy and one of Go, in C, under the sanitizers of addresses, leaks
// and undefined behaviour: the hooks in any order, calls within calls, filters that are destroyed within them, damaged answers.
func TestTheHooksUnderSanitizers(t *testing.T) {
	program, answers := filepath.Join(t.TempDir(), "fake_envoy"), filepath.Join(t.TempDir(), "answers")
	compiling := exec.CommandContext(t.Context(), "gcc", "-std=gnu11", "-g", "-O1", "-Wall", "-Wextra", "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
		"-I", "testdata/sanitized", "-o", program, "hooks.c", "message.c", "answer.c", "testdata/sanitized/fake_envoy.c")
	if output, err := compiling.CombinedOutput(); err != nil {
		if strings.Contains(string(output), "asan") && os.Getenv("C_COMPILER_REQUIRED") == "" {
			t.Skipf("the compiler has no sanitizers: %s", output)
		}
		t.Fatalf("%v\n%s", err, output)
	}
	check(os.WriteFile(answers, allAnswers(t), 0o600))
	for _, seed := range []string{"1", "2", "3"} {
		if output, err := exec.CommandContext(t.Context(), program, seed, "3000", answers).CombinedOutput(); err != nil {
			t.Fatalf("seed %s: %v\n%s", seed, err, output)
		}
	}
}

// allAnswers has an answer of each kind, each behind its length.
func allAnswers(t *testing.T) (all []byte) {
	t.Helper()
	set := func(name, value string, appends bool) *corev3.HeaderValueOption {
		option := &corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: name, RawValue: []byte(value)}}
		if appends {
			option.Append = wrapperspb.Bool(true) //nolint:staticcheck // as the engine does
		}
		return option
	}
	mutation := &servicev3.HeaderMutation{RemoveHeaders: []string{"x-removed"}, SetHeaders: []*corev3.HeaderValueOption{
		set("x-set", "value", false), set("x-set", strings.Repeat("long", 6000), true), set("content-length", "3", false), set("x-empty", "", false)}}
	changed := &servicev3.HeadersResponse{Response: &servicev3.CommonResponse{HeaderMutation: mutation}}
	replaced := func(body string) *servicev3.HeadersResponse {
		return &servicev3.HeadersResponse{Response: &servicev3.CommonResponse{Status: servicev3.CommonResponse_CONTINUE_AND_REPLACE,
			BodyMutation: &servicev3.BodyMutation{Mutation: &servicev3.BodyMutation_Body{Body: []byte(body)}}}}
	}
	metadata, err := structpb.NewStruct(map[string]any{"gatewright": map[string]any{"a": "b", "list": []any{1, true, nil}}, "text": "no namespace"})
	check(err)
	for _, answer := range []*servicev3.ProcessingResponse{
		{},
		{Response: &servicev3.ProcessingResponse_RequestHeaders{RequestHeaders: changed}, DynamicMetadata: metadata},
		{Response: &servicev3.ProcessingResponse_ResponseHeaders{ResponseHeaders: changed}},
		{Response: &servicev3.ProcessingResponse_RequestHeaders{RequestHeaders: replaced("body")}},
		{Response: &servicev3.ProcessingResponse_ResponseHeaders{ResponseHeaders: replaced(strings.Repeat("body", 10_000))}},
		{Response: &servicev3.ProcessingResponse_ResponseHeaders{ResponseHeaders: replaced("")}},
		{DynamicMetadata: metadata, Response: &servicev3.ProcessingResponse_ImmediateResponse{ImmediateResponse: &servicev3.ImmediateResponse{
			Status: &typev3.HttpStatus{Code: 418}, Headers: mutation, Body: []byte("tea"), GrpcStatus: &servicev3.GrpcStatus{Status: 7}, Details: "some details"}}},
	} {
		encoded, err := proto.Marshal(answer)
		check(err)
		all = append(binary.NativeEndian.AppendUint32(all, uint32(len(encoded))), encoded...)
	}
	return all
}
