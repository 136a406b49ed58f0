{{/* The Secret with the address of the database. */}}
{{- define "<< cookiecutter.project_slug >>.databaseSecret" -}}
{{- .Values.database.secretName | default (printf "%s-database" (include "<< cookiecutter.project_slug >>.name" . | trunc 54 | trimSuffix "-")) -}}
{{- end -}}

{{/* The variable with the address. */}}
{{- define "<< cookiecutter.project_slug >>.databaseUrl" -}}
- name: APP_DATABASE__URL
  valueFrom:
    secretKeyRef:
      name: {{ include "<< cookiecutter.project_slug >>.databaseSecret" . }}
      key: {{ .Values.database.secretKey }}
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
