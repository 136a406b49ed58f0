{{/*
Sets values that are missing or null to the defaults of files/defaults.yaml: values of an older chart lack
newer keys (--reuse-values), and an empty key in a values file is null. Every template begins with this.
*/}}
{{- define "<< cookiecutter.project_slug >>.values" -}}
{{- include "<< cookiecutter.project_slug >>.withoutNulls" (omit .Values "global") -}}
{{- range $path, $default := .Files.Get "files/defaults.yaml" | fromYaml -}}
  {{- $names := splitList "." $path -}}
  {{- $group := $.Values -}}
  {{- range initial $names -}}
    {{- if not (kindIs "map" (index $group .)) -}}
      {{- $_ := set $group . dict -}}
    {{- end -}}
    {{- $group = index $group . -}}
  {{- end -}}
  {{- if kindIs "invalid" (index $group (last $names)) -}}
    {{- $_ := set $group (last $names) $default -}}
  {{- end -}}
{{- end -}}
{{- end -}}

#% if cookiecutter.monitoring == "prometheus"
{{/* The seconds of a duration such as 30s or 1m. */}}
{{- define "<< cookiecutter.project_slug >>.seconds" -}}
{{- mul (trimSuffix "m" . | trimSuffix "s" | int) (ternary 60 1 (hasSuffix "m" .)) -}}
{{- end -}}

#% endif
{{/* Removes null keys from a map and the maps in it. */}}
{{- define "<< cookiecutter.project_slug >>.withoutNulls" -}}
{{- range $name, $value := . -}}
  {{- if kindIs "invalid" $value -}}
    {{- $_ := unset $ $name -}}
  {{- else if kindIs "map" $value -}}
    {{- include "<< cookiecutter.project_slug >>.withoutNulls" $value -}}
  {{- end -}}
{{- end -}}
{{- end -}}
