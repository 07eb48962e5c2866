{{- define "clustermesh.image" -}}
{{- $image := .image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default .default }}
{{- end -}}
{{- end -}}

{{- define "clustermesh.ours" -}}
image: {{ include "clustermesh.image" (dict "image" .Values.image "default" .Chart.AppVersion) | quote }}
{{- with .Values.image.pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
{{- end -}}

{{- define "clustermesh.labels" -}}
k8s-app: {{ .app }}
app.kubernetes.io/part-of: clustermesh
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "clustermesh.identity" -}}
- --cluster-name={{ .Values.cluster.name }}
- --cluster-id={{ .Values.cluster.id | int }}
- --max-connected-clusters={{ .Values.cluster.maxConnectedClusters | int }}
{{- end -}}

{{/* Of a release with --reuse-values from before there was one: the default. */}}
{{- define "clustermesh.auth-mode" -}}
{{ .Values.tls.authMode | default "migration" }}
{{- end -}}

{{- define "clustermesh.unprivileged" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{- define "clustermesh.hardened" -}}
securityContext:
  allowPrivilegeEscalation: false
  capabilities:
    drop: [ALL]
  readOnlyRootFilesystem: true
terminationMessagePolicy: FallbackToLogsOnError
{{- end -}}

{{- define "clustermesh.probe" -}}
readinessProbe:
  httpGet:
    path: {{ .path }}
    port: {{ .port }}
  periodSeconds: 2
{{- end -}}

{{- define "clustermesh.resources" -}}
{{- with . }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Where a pod runs: its own values, and the secrets for pulling that all share. */}}
{{- define "clustermesh.placement" -}}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- if and .root.Values.controlNode .isControl }}
hostNetwork: true
nodeSelector:
  clustermesh.io/control: ""
tolerations:
  - operator: Exists
{{- else }}
{{- with .of.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "clustermesh.client-files" -}}
- secret:
    name: {{ .secret }}
    optional: true
    items:
      - {key: tls.crt, path: {{ .client }}.crt}
      - {key: tls.key, path: {{ .client }}.key}
      - {key: ca.crt, path: {{ .client }}-ca.crt}
{{- end -}}

{{- define "clustermesh.agent-files" -}}
- secret:
    name: cilium-clustermesh
    optional: true
{{ include "clustermesh.client-files" (dict "secret" "clustermesh-apiserver-remote-cert" "client" "common-etcd-client") }}
{{ include "clustermesh.client-files" (dict "secret" "clustermesh-apiserver-local-cert" "client" "local-etcd-client") }}
- configMap:
    name: clustermesh-peers
    optional: true
    items:
      - {key: claims.yaml, path: claims.yaml}
{{- end -}}

{{/* What a program reads of cilium-config; what is not said there has the program's default. */}}
{{- define "clustermesh.config-keys" -}}
{{- range . }}
- name: CLUSTERMESH_{{ . | replace "-" "_" | upper }}
  valueFrom:
    configMapKeyRef:
      name: cilium-config
      key: {{ . }}
      optional: true
{{- end }}
{{- end -}}

{{- define "clustermesh.server-names" -}}
- clustermesh-apiserver.{{ .Release.Namespace }}.svc
- clustermesh-apiserver
- clustermesh-apiserver.{{ .Release.Namespace }}
- clustermesh-apiserver.{{ .Release.Namespace }}.svc.cluster.local
- clustermesh-apiserver.cilium.io
- "*.mesh.cilium.io"
- localhost
{{- range .Values.tls.server.extraDnsNames }}
- {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "clustermesh.server-addresses" -}}
- 127.0.0.1
- "::1"
{{- range .Values.tls.server.extraIpAddresses }}
- {{ . | quote }}
{{- end }}
{{- end -}}

{{/* Accounts with rights in the whole cluster. */}}
{{- define "clustermesh.access" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ .app }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "clustermesh.labels" . | nindent 4 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: {{ .app }}
  labels:
    {{- include "clustermesh.labels" . | nindent 4 }}
rules:
  {{- .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ .app }}
  labels:
    {{- include "clustermesh.labels" . | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ .app }}
subjects:
  - kind: ServiceAccount
    name: {{ .app }}
    namespace: {{ .root.Release.Namespace }}
{{- end -}}
