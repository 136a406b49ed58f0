{{/* Variables of the database; nothing where a default or another source has them. */}}
{{- define "<< cookiecutter.project_slug >>.database" -}}
{{- with .Values.database -}}
{{- if .secret }}
- name: APP_DATABASE__URL
  valueFrom:
    secretKeyRef:
      name: {{ .secret }}
      key: {{ .secretKey }}
{{- end }}
{{- if .passwordSecret }}
- name: APP_DATABASE__PASSWORD_FILE
  value: /run/secrets/database/{{ .passwordKey }}
{{- end }}
{{- if hasKey . "poolSize" }}
- name: APP_DATABASE__POOL_SIZE
  value: {{ .poolSize | quote }}
{{- end }}
{{- if hasKey . "pooler" }}
- name: APP_DATABASE__POOLER
  value: {{ .pooler }}
{{- end }}
{{- if hasKey . "gating" }}
- name: APP_DATABASE__GATING
  value: {{ .gating | quote }}
{{- end }}
{{- end -}}
{{- end -}}

{{/* Labels of what migrates; another name than the service's, whose Service would send it requests. */}}
{{- define "<< cookiecutter.project_slug >>.migrationLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}-migrate
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: {{ .Chart.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}
