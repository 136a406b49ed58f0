{{/*
The Deployment's number of pods, or nothing if only an autoscaler sets it.

Helm resets a field that disappears from the manifest to the API's default, which is 1 for replicas. So a
Deployment that ever had a number keeps one: the autoscaler's current number, looked up in the cluster. One
that started with an autoscaler never had a number; an annotation says so. Without a cluster to look into
(helm template, Argo CD), nothing is rendered.
*/}}
{{- define "<< cookiecutter.project_slug >>.replicas" -}}
{{- if eq .Values.autoscaling.kind "none" -}}
{{- .Values.replicas -}}
{{- else -}}
#% if cookiecutter.argo_rollouts == "yes"
{{- $owner := include "<< cookiecutter.project_slug >>.workload" . | fromYaml -}}
{{- $live := lookup $owner.apiVersion $owner.kind .Release.Namespace (include "<< cookiecutter.project_slug >>.name" .) -}}
#% else
{{- $live := lookup "apps/v1" "Deployment" .Release.Namespace (include "<< cookiecutter.project_slug >>.name" .) -}}
#% endif
{{- if and $live (not (dig "metadata" "annotations" (include "<< cookiecutter.project_slug >>.withoutReplicas" .) "" $live)) -}}
{{- max (int $live.spec.replicas) (int .Values.autoscaling.minReplicas) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The annotation of a Deployment that is rendered without a number. */}}
{{- define "<< cookiecutter.project_slug >>.withoutReplicas" -}}
<< cookiecutter.project_slug >>/replicas-left-to
{{- end -}}
