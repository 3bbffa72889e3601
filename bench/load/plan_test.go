package main

import (
	"strings"
	"testing"
)

func TestPlanHoldsTheRequestAsSent(t *testing.T) {
	p, err := parsePlan([]string{"-url", "http://127.0.0.1:80/go/1?a=b", "-header", "X-A: 1", "-header", "X-B:2"})
	if err != nil {
		t.Fatal(err)
	}
	want := "GET /go/1?a=b HTTP/1.1\r\nHost: 127.0.0.1:80\r\nX-A: 1\r\nX-B: 2\r\n\r\n"
	if string(p.request) != want || p.address != "127.0.0.1:80" {
		t.Errorf("expected %q, got %q to %s", want, p.request, p.address)
	}
}

func TestPlanWithABodyIsAPost(t *testing.T) {
	p, err := parsePlan([]string{"-url", "http://127.0.0.1:80/go/1", "-body", "3"})
	if err != nil {
		t.Fatal(err)
	}
	want := "POST /go/1 HTTP/1.1\r\nHost: 127.0.0.1:80\r\nContent-Length: 3\r\n\r\n\"x\""
	if string(p.request) != want {
		t.Errorf("expected %q, got %q", want, p.request)
	}
}

func TestPlanRefuses(t *testing.T) {
	for want, arguments := range map[string][]string{
		"-url: expected":            {"-url", "ftp://127.0.0.1:80/"},
		"-authority: expected":      {"-url", "https://127.0.0.1:80/", "-authority", "/none"},
		`got "http://127.0.0.1/"`:   {"-url", "http://127.0.0.1/"},
		"-connections ≥ 1":          {"-url", "http://127.0.0.1:80/", "-connections", "0"},
		"-rate ≥ 0":                 {"-url", "http://127.0.0.1:80/", "-rate", "-1"},
		`expected "Name: value"`:    {"-url", "http://127.0.0.1:80/", "-expect", "X-Go"},
		"flag provided but not def": {"-nope"},
	} {
		if _, err := parsePlan(arguments); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: expected an error with %q, got %v", arguments, want, err)
		}
	}
}
