{{/* The scheme of the main port. */}}
{{- define "<< cookiecutter.project_slug >>.scheme" -}}
{{ ternary "https" "http" (not (empty .Values.tls.secretName)) }}
{{- end -}}

{{/* Variables of the service. */}}
{{- define "<< cookiecutter.project_slug >>.tls" -}}
{{- with .Values.tls }}
{{- if .secretName }}
- name: APP_TLS__CERTIFICATE
  value: /run/secrets/tls/tls.crt
- name: APP_TLS__KEY
  value: /run/secrets/tls/tls.key
- name: APP_TLS__MINIMUM_VERSION
  value: {{ .minimumVersion | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/*
What tells the router of an Ingress to speak TLS to the pods; Traefik goes by the Service's appProtocol. Those of
`ingress.annotations` win.
*/}}
{{- define "<< cookiecutter.project_slug >>.ingressAnnotations" -}}
{{- $own := dict -}}
{{- if .Values.tls.secretName -}}
{{- $own = get (dict
  "ingress-nginx" (dict "nginx.ingress.kubernetes.io/backend-protocol" "HTTPS")
  "haproxy" (dict "haproxy.org/server-ssl" "true")
  "aws-alb" (dict "alb.ingress.kubernetes.io/backend-protocol" "HTTPS")
  "azure-agic" (dict "appgw.ingress.kubernetes.io/backend-protocol" "https")
) .Values.behind | default dict -}}
{{- end -}}
{{- merge (deepCopy .Values.ingress.annotations) $own | toYaml -}}
{{- end -}}
