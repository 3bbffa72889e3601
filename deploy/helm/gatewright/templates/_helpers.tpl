{{- define "gatewright.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* What names of resources begin with; 50 characters at most, for suffixes. */}}
{{- define "gatewright.fullname" -}}
{{- $name := include "gatewright.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "gatewright.controller" -}}
{{ include "gatewright.fullname" . }}-controller
{{- end -}}

{{/* component of (dict "root" $ "component" "nodes"): what selects its pods. */}}
{{- define "gatewright.selector" -}}
app.kubernetes.io/name: {{ include "gatewright.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "gatewright.labels" -}}
{{ include "gatewright.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "gatewright.image" -}}
{{- $at := ternary (printf "@%s" .Values.image.digest) (printf ":%s" (default .Chart.AppVersion .Values.image.tag)) (ne .Values.image.digest "") -}}
{{ .Values.image.repository }}{{ $at }}
{{- end -}}

{{- define "gatewright.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "gatewright.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.serviceAccount.name }}
{{- end -}}
{{- end -}}

{{/* Whether the policies are not those of the image. */}}
{{- define "gatewright.otherPolicies" -}}
{{- if or .Values.policies.image.reference .Values.policies.volume }}yes{{ end -}}
{{- end -}}

{{/* The folder of the build's output. */}}
{{- define "gatewright.build" -}}
{{- $path := ternary .Values.policies.image.path .Values.policies.volumePath (ne .Values.policies.image.reference "") | trimAll "/" -}}
{{- if and .Values.policies.image.reference (eq .Values.policies.image.mount "copy") -}}
/policies
{{- else if include "gatewright.otherPolicies" . -}}
/policies{{ with $path }}/{{ . }}{{ end }}
{{- else -}}
/app/build
{{- end -}}
{{- end -}}

{{- define "gatewright.policiesVolume" -}}
{{- if include "gatewright.otherPolicies" . -}}
- name: policies
{{- if not .Values.policies.image.reference }}
  {{- toYaml .Values.policies.volume | nindent 2 }}
{{- else if eq .Values.policies.image.mount "copy" }}
  emptyDir: {}
{{- else }}
  image:
    reference: {{ .Values.policies.image.reference | quote }}
    pullPolicy: {{ .Values.policies.image.pullPolicy }}
{{- end }}
{{- end -}}
{{- end -}}

{{- define "gatewright.policiesMount" -}}
{{- if include "gatewright.otherPolicies" . -}}
- {name: policies, mountPath: /policies, readOnly: true}
{{- end -}}
{{- end -}}

{{- define "gatewright.copyPolicies" -}}
{{- if and .Values.policies.image.reference (eq .Values.policies.image.mount "copy") -}}
initContainers:
  - name: policies
    image: {{ .Values.policies.image.reference | quote }}
    imagePullPolicy: {{ .Values.policies.image.pullPolicy }}
    command: [cp, -R, {{ printf "/%s/." (trimAll "/" .Values.policies.image.path) | quote }}, /policies]
    resources:
      requests: {cpu: 50m, memory: 64Mi}
      limits: {memory: 256Mi}
    securityContext: {{- include "gatewright.containerSecurity" . | nindent 6 }}
    volumeMounts:
      - {name: policies, mountPath: /policies}
{{- end -}}
{{- end -}}

{{/* Of a pod, as the restricted Pod Security Standard asks for it; the second argument goes over it. */}}
{{- define "gatewright.podSecurity" -}}
{{- $standard := dict "runAsNonRoot" true "runAsUser" 10001 "runAsGroup" 10001 "fsGroup" 10001 "fsGroupChangePolicy" "OnRootMismatch" "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- $merged := mergeOverwrite $standard . -}}
{{- range $key, $value := $merged }}{{ if kindIs "invalid" $value }}{{ $_ := unset $merged $key }}{{ end }}{{ end -}}
{{ toYaml $merged }}
{{- end -}}

{{- define "gatewright.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
readOnlyRootFilesystem: true
{{- end -}}

{{/* What all pods have. (dict "root" $ "of" .Values.nodes); account: one that speaks to Kubernetes. */}}
{{- define "gatewright.pod" -}}
serviceAccountName: {{ default (include "gatewright.serviceAccount" .root) .account }}
automountServiceAccountToken: {{ ne (default "" .account) "" }}
# A Service's variables would be taken for settings: GATEWRIGHT_CONTROLLER_PORT.
enableServiceLinks: false
securityContext: {{- include "gatewright.podSecurity" .of.podSecurityContext | nindent 2 }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .of.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.topologySpreadConstraints }}
topologySpreadConstraints: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The Gateway as both read it: listeners and the admin listener are for other machines. */}}
{{- define "gatewright.gateway" -}}
{{- $spec := deepCopy .Values.gateway -}}
{{- $listeners := list -}}
{{- range $spec.listeners }}{{ $listeners = append $listeners (merge (deepCopy .) (dict "address" "0.0.0.0")) }}{{ end -}}
{{- $_ := set $spec "listeners" $listeners -}}
{{- $_ := set $spec "admin" (merge (default dict $spec.admin) (dict "address" "0.0.0.0" "port" 9901)) -}}
{{ toYaml (dict "apiVersion" "gatewright.dev/v1" "kind" "Gateway" "spec" $spec) }}
{{- end -}}

{{- define "gatewright.adminPort" -}}
{{ dig "admin" "port" 9901 .Values.gateway }}
{{- end -}}

{{/* Of nodes of Gateways, whose NodeGateways the controller makes. */}}
{{- define "gatewright.gatewayAdminPort" -}}
9901
{{- end -}}

{{/* The Secret with the controller's certificate. */}}
{{- define "gatewright.tlsSecret" -}}
{{- if .Values.controller.tls.certManager.enabled -}}
{{ include "gatewright.controller" . }}-tls
{{- else -}}
{{ .Values.controller.tls.existingSecret }}
{{- end -}}
{{- end -}}

{{/* Whether all APIs are those of files. */}}
{{- define "gatewright.hasFiles" -}}
{{- if or .Values.controller.apis.files .Values.controller.apis.configMaps }}yes{{ end -}}
{{- end -}}

{{/* The spec of a node's pod: (dict "root" $ "ofGateway" false). ofGateway: of a Gateway of Gateway API, whose listeners and
label the controller adds. */}}
{{- define "gatewright.nodePod" -}}
{{- $root := .root -}}
{{- $of := $root.Values.nodes -}}
{{- $address := default (printf "%s.%s.svc:9443" (include "gatewright.controller" $root) $root.Release.Namespace) $of.join.address -}}
{{ include "gatewright.pod" (dict "root" $root "of" $of) }}
# SIGTERM drains the node: no preStop hook is needed. 15 s for the processes after Envoy.
terminationGracePeriodSeconds: {{ add (int $of.drain.seconds) 15 }}
{{- with include "gatewright.copyPolicies" $root }}{{ . | nindent 0 }}{{ end }}
containers:
  - name: node
    image: {{ include "gatewright.image" $root | quote }}
    imagePullPolicy: {{ $root.Values.image.pullPolicy }}
    args:
      - {{ printf "--join=%s" $address | quote }}
      - --join-authority=/etc/gatewright/join/authority.pem
      - --join-token-file=/etc/gatewright/join/token
      {{- if include "gatewright.otherPolicies" $root }}
      - --build={{ include "gatewright.build" $root }}
      {{- end }}
      - --gateway=/etc/gatewright/config/gateway.yaml
      {{- if not .ofGateway }}
      - {{ printf "--host=%s" ((first $root.Values.gateway.listeners).address | default "0.0.0.0") | quote }}
      {{- range $key, $value := $of.labels }}
      - {{ printf "--node-label=%s=%s" $key $value | quote }}
      {{- end }}
      {{- end }}
      - --executors={{ $of.executors }}
      {{- if $of.secrets.existingSecret }}
      - --secrets=/etc/gatewright/secrets
      {{- end }}
      - --drain-seconds={{ $of.drain.seconds }}
      - --envoy.drain-time-s={{ $of.drain.acceptSeconds }}
      {{- with $of.extraArgs }}{{ toYaml . | nindent 6 }}{{ end }}
    env:
      - {name: HOME, value: /tmp}
      {{- with $of.extraEnv }}{{ toYaml . | nindent 6 }}{{ end }}
    ports:
      {{- if not .ofGateway }}
      {{- range $root.Values.gateway.listeners }}
      - {name: {{ .name | trunc 15 | trimSuffix "-" }}, containerPort: {{ .port }}}
      {{- if .http3 }}
      - {name: {{ .name | trunc 11 | trimSuffix "-" }}-udp, containerPort: {{ .port }}, protocol: UDP}
      {{- end }}
      {{- end }}
      {{- end }}
      - {name: admin, containerPort: {{ include (ternary "gatewright.gatewayAdminPort" "gatewright.adminPort" .ofGateway) $root }}}
    startupProbe:
      httpGet: {path: /healthz, port: admin}
      periodSeconds: 1
      timeoutSeconds: 2
      failureThreshold: 120
    readinessProbe:
      httpGet: {path: /ready, port: admin}
      periodSeconds: 2
      timeoutSeconds: 2
      failureThreshold: 2
    # The supervisor starts processes again that hang or end; this is for a supervisor that does not.
    livenessProbe:
      httpGet: {path: /healthz, port: admin}
      periodSeconds: 10
      timeoutSeconds: 5
      failureThreshold: 6
    resources: {{- toYaml $of.resources | nindent 6 }}
    securityContext: {{- include "gatewright.containerSecurity" $root | nindent 6 }}
    volumeMounts:
      - {name: config, mountPath: /etc/gatewright/config, readOnly: true}
      - {name: join, mountPath: /etc/gatewright/join, readOnly: true}
      - {name: state, mountPath: /var/lib/gatewright}
      - {name: tmp, mountPath: /tmp}
      {{- if $of.secrets.existingSecret }}
      - {name: secrets, mountPath: /etc/gatewright/secrets, readOnly: true}
      {{- end }}
      {{- range $of.certificates }}
      - {name: certificate-{{ . }}, mountPath: /etc/gatewright/certificates/{{ . }}, readOnly: true}
      {{- end }}
      {{- with include "gatewright.policiesMount" $root }}{{ . | nindent 6 }}{{ end }}
      {{- with $of.extraVolumeMounts }}{{ toYaml . | nindent 6 }}{{ end }}
volumes:
  - name: config
    configMap:
      name: {{ include "gatewright.fullname" $root }}-config
      items: [{key: gateway.yaml, path: gateway.yaml}]
  - name: join
    projected:
      defaultMode: 0440
      sources:
        - secret:
            name: {{ default (include "gatewright.tlsSecret" $root) $of.join.authority.existingSecret }}
            items: [{key: {{ $of.join.authority.key }}, path: authority.pem}]
        - secret:
            name: {{ default $root.Values.controller.tokens.existingSecret $of.join.token.existingSecret }}
            items: [{key: {{ ternary $of.join.token.key $root.Values.controller.tokens.nodeTokenKey (ne $of.join.token.existingSecret "") }}, path: token}]
  # The last good state, which a restart of the container starts from.
  - name: state
    emptyDir: {}
  - name: tmp
    emptyDir: {medium: Memory, sizeLimit: {{ $of.tmpSize }}}
  {{- with $of.secrets.existingSecret }}
  - name: secrets
    secret: {secretName: {{ . }}, defaultMode: 0440}
  {{- end }}
  {{- range $of.certificates }}
  - name: certificate-{{ . }}
    secret: {secretName: {{ . }}, defaultMode: 0440}
  {{- end }}
  {{- with include "gatewright.policiesVolume" $root }}{{ . | nindent 2 }}{{ end }}
  {{- with $of.extraVolumes }}{{ toYaml . | nindent 2 }}{{ end }}
{{- end -}}

{{/* What no schema can say. */}}
{{- define "gatewright.check" -}}
{{- with .Values.controller -}}
{{- if .enabled -}}
{{- if not .tokens.existingSecret }}{{ fail "controller.tokens.existingSecret: expected the name of a Secret with the tokens, got none: kubectl create secret generic gatewright --from-literal=token=$(openssl rand -hex 32) --from-literal=node-token=$(openssl rand -hex 32)" }}{{ end -}}
{{- if and .tls.existingSecret .tls.certManager.enabled }}{{ fail "controller.tls: expected either existingSecret or certManager, got both: leave one out" }}{{ end -}}
{{- if not (or .tls.existingSecret .tls.certManager.enabled) }}{{ fail "controller.tls: expected existingSecret, the name of a Secret with tls.crt, tls.key and ca.crt, or certManager.enabled, got neither: nodes join by TLS alone" }}{{ end -}}
{{- if and .tls.certManager.enabled (not .tls.certManager.issuer.name) }}{{ fail "controller.tls.certManager.issuer.name: expected the name of an issuer, got none" }}{{ end -}}
{{- range $name := list "token" "tokenFile" "listen" "nodeListen" "nodeTlsListen" "nodeTokenFile" "tlsCertificate" "tlsKey" "database" "databaseFile" "definitions" "engine" "gateway" "apis" "gatewayApi" "gatewayApiController" "gatewayApiNamespace" "gatewayApiNodes" "kubeconfig" "secretKey" "secretKeyFile" "systemParameters" "systemParametersFile" }}{{ if hasKey $.Values.controller.settings $name }}{{ fail (printf "controller.settings: expected settings that the chart does not make by itself, got %s: leave it out, and see the values beside it" $name) }}{{ end }}{{ end -}}
{{- if and (gt (int .replicas) 1) (not .database.postgresql.existingSecret) }}{{ fail (printf "controller.replicas: expected 1 with SQLite, got %d: name a Secret with the URL of a PostgreSQL in controller.database.postgresql.existingSecret" (int .replicas)) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if .Values.gatewayApi.enabled -}}
{{- if not .Values.controller.enabled }}{{ fail "gatewayApi.enabled: expected controller.enabled to be true, got false: the controller speaks to Kubernetes" }}{{ end -}}
{{- if include "gatewright.hasFiles" . }}{{ fail "gatewayApi.enabled: expected no controller.apis, got some: files have all APIs that there are; leave one out" }}{{ end -}}
{{- end -}}
{{- if and .Values.policies.image.reference .Values.policies.volume }}{{ fail "policies: expected either image.reference or volume, got both: leave one out" }}{{ end -}}
{{- if and .Values.nodes.enabled (not .Values.controller.enabled) -}}
{{- range list "address" "authority" "token" -}}
{{- $value := get $.Values.nodes.join . -}}
{{- if not (ternary $value (dig "existingSecret" "" (ternary dict $value (kindIs "string" $value))) (kindIs "string" $value)) }}{{ fail (printf "nodes.join.%s: expected it where controller.enabled is false, got none: name the controller that nodes join" .) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.nodes.autoscaling.enabled (not (or .Values.nodes.autoscaling.cpuPercent .Values.nodes.autoscaling.busyWorkers .Values.nodes.autoscaling.metrics)) }}{{ fail "nodes.autoscaling: expected cpuPercent, busyWorkers or metrics, got none: set one, or enabled to false" }}{{ end -}}
{{- if and .Values.nodes.autoscaling.enabled (gt (int .Values.nodes.autoscaling.minReplicas) (int .Values.nodes.autoscaling.maxReplicas)) }}{{ fail (printf "nodes.autoscaling: expected minReplicas of at most maxReplicas, got %d and %d" (int .Values.nodes.autoscaling.minReplicas) (int .Values.nodes.autoscaling.maxReplicas)) }}{{ end -}}
{{- if gt (int .Values.nodes.drain.acceptSeconds) (int .Values.nodes.drain.seconds) }}{{ fail (printf "nodes.drain: expected acceptSeconds of at most seconds, got %d and %d" (int .Values.nodes.drain.acceptSeconds) (int .Values.nodes.drain.seconds)) }}{{ end -}}
{{- $names := list -}}
{{- range .Values.gateway.listeners }}{{ $names = append $names .name }}{{ end -}}
{{- range $name, $port := .Values.nodes.service.ports }}{{ if not (has $name $names) }}{{ fail (printf "nodes.service.ports: expected names of listeners of the gateway (%s), got %s" (join ", " $names) $name) }}{{ end }}{{ end -}}
{{- end -}}
