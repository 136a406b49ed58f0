{{/* Name of every object: the release's name, and the chart's unless the release's contains it. */}}
{{- define "<< cookiecutter.project_slug >>.name" -}}
{{- $long := printf "%s-%s" .Release.Name .Chart.Name -}}
{{- $name := ternary .Release.Name $long (contains .Chart.Name .Release.Name) -}}
{{- .Values.fullnameOverride | default $name | trunc 58 | trimSuffix "-" -}}
{{- end -}}

{{/* Name of the canary's objects, by the same rule. */}}
{{- define "<< cookiecutter.project_slug >>.canary" -}}
{{- include "<< cookiecutter.project_slug >>.name" (dict "Release" (dict "Name" .Values.canary.release) "Chart" .Chart "Values" dict) -}}
{{- end -}}

{{/* Labels that select the pods: they never change during the life of a release. */}}
{{- define "<< cookiecutter.project_slug >>.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Labels of every object. */}}
{{- define "<< cookiecutter.project_slug >>.labels" -}}
{{ include "<< cookiecutter.project_slug >>.selector" . }}
app.kubernetes.io/part-of: {{ .Chart.Name }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | trunc 63 | trimAll "-._" | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The image, by digest if there is one. */}}
{{- define "<< cookiecutter.project_slug >>.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end -}}

{{/* The Services whose endpoints a stopping pod watches; with a port, it also asks which pods answer there. */}}
{{- define "<< cookiecutter.project_slug >>.watched" -}}
{{- if .Values.shutdown.watchEndpoints -}}
{{- $direct := (include "<< cookiecutter.project_slug >>.times" . | fromYaml).direct -}}
{{- include "<< cookiecutter.project_slug >>.name" . }}{{ if not $direct }}:{{ .Values.service.port }}{{ end -}}
#% if cookiecutter.argo_rollouts == "yes"
{{- if and .Values.argoRollouts.enabled (eq .Values.argoRollouts.traffic "gateway") }},{{ include "<< cookiecutter.project_slug >>.name" . }}-new{{ end -}}
#% endif
{{- end -}}
{{- end -}}

{{/* Whether the pods talk to the API: "true" or nothing. */}}
{{- define "<< cookiecutter.project_slug >>.asksApi" -}}
#% if cookiecutter.leader_election == "yes"
true
#% else
{{- if .Values.shutdown.watchEndpoints }}true{{ end -}}
#% endif
{{- end -}}

{{/* The account of the pods. */}}
{{- define "<< cookiecutter.project_slug >>.account" -}}
{{- .Values.serviceAccount.name | default (ternary (include "<< cookiecutter.project_slug >>.name" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}
