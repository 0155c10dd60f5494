{{- define "tidegate.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "tidegate.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "tidegate.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "tidegate.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "tidegate.selectorLabels" -}}
app.kubernetes.io/name: {{ include "tidegate.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tidegate.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "tidegate.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "tidegate.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "tidegate.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "tidegate.secretName" -}}
{{- default (include "tidegate.fullname" .) .Values.secret.existingSecret }}
{{- end }}

{{/* gateway.toml: what the chart answers for, then what the user wrote. */}}
{{- define "tidegate.gatewayToml" -}}
[listen]
address = "0.0.0.0:8080"

[admin]
address = "0.0.0.0:8081"

[drain]
deadline_s = {{ .Values.drain.deadlineSeconds }}
spread_s = {{ .Values.drain.spreadSeconds }}

[store]
kind = {{ .Values.store.kind | quote }}
{{- if eq .Values.store.kind "redis" }}
{{- if .Values.store.url }}
url = {{ .Values.store.url | quote }}
{{- else }}
url = { env = "TIDEGATE_REDIS_URL" }
{{- end }}
node_lease_s = {{ .Values.store.nodeLeaseSeconds }}
{{- end }}

{{ .Values.config }}
{{- end }}
