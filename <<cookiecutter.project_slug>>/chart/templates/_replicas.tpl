{{/*
The Deployment's number of pods, or nothing where an autoscaler alone owns it.

Helm sets what it does not find in the manifest any more to the API's default, and that of replicas is 1. A
Deployment that was ever rendered with a number therefore goes on to have one: the number that the autoscaler
has chosen, looked up in the cluster. One that began with an autoscaler never had a number, and says so in an
annotation. Where there is no cluster to look into (helm template, Argo CD), nothing is rendered.
*/}}
{{- define "<< cookiecutter.project_slug >>.replicas" -}}
{{- if eq .Values.autoscaling.kind "none" -}}
{{- .Values.replicas -}}
{{- else -}}
{{- $live := lookup "apps/v1" "Deployment" .Release.Namespace (include "<< cookiecutter.project_slug >>.name" .) -}}
{{- if and $live (not (dig "metadata" "annotations" (include "<< cookiecutter.project_slug >>.numberless" .) "" $live)) -}}
{{- max (int $live.spec.replicas) (int .Values.autoscaling.minReplicas) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Name of the annotation of a Deployment that is rendered without a number. */}}
{{- define "<< cookiecutter.project_slug >>.numberless" -}}
<< cookiecutter.project_slug >>/replicas-left-to
{{- end -}}
