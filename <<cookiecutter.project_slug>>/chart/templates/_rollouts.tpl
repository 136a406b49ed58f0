{{/* What owns the pods: the Deployment, or the Rollout of Argo Rollouts. */}}
{{- define "<< cookiecutter.project_slug >>.workload" -}}
apiVersion: {{ ternary "argoproj.io/v1alpha1" "apps/v1" .Values.argoRollouts.enabled }}
kind: {{ ternary "Rollout" "Deployment" .Values.argoRollouts.enabled }}
{{- end -}}

{{/*
Seconds from the end of an update, when the Service selects the new pods only, to the deletion of the old ones.
Nobody deleted them, so their drain has not begun: this is the time in which routers must learn of it.
*/}}
{{- define "<< cookiecutter.project_slug >>.scaleDownDelay" -}}
{{- $times := include "<< cookiecutter.project_slug >>.times" . | fromYaml -}}
{{- $needed := maxf $times.floor $times.fallback | ceil | int -}}
{{- .Values.argoRollouts.scaleDownDelaySeconds | default (max 30 $needed) -}}
{{- end -}}

{{/* The strategy of the Rollout. */}}
{{- define "<< cookiecutter.project_slug >>.canaryStrategy" -}}
{{- $name := include "<< cookiecutter.project_slug >>.name" . -}}
{{- with .Values.argoRollouts -}}
canary:
  maxSurge: {{ $.Values.rollout.maxSurge }}
  maxUnavailable: {{ $.Values.rollout.maxUnavailable }}
  {{- if ne .traffic "pods" }}
  scaleDownDelaySeconds: {{ include "<< cookiecutter.project_slug >>.scaleDownDelay" $ }}
  abortScaleDownDelaySeconds: {{ include "<< cookiecutter.project_slug >>.scaleDownDelay" $ }}
  {{- end }}
  {{- if eq .traffic "gateway" }}
  stableService: {{ $name }}
  canaryService: {{ $name }}-new
  trafficRouting:
    plugins:
      argoproj-labs/gatewayAPI:
        httpRoute: {{ $name }}
        namespace: {{ $.Release.Namespace }}
#% if cookiecutter.mesh == "istio"
  {{- else if eq .traffic "istio" }}
  trafficRouting:
    istio:
      virtualService:
        name: {{ $name }}
        routes: [safe, unsafe]
      destinationRule:
        name: {{ $name }}
        stableSubsetName: stable
        canarySubsetName: canary
#% endif
  {{- end }}
  steps:
    {{- range .weights }}
    - setWeight: {{ . }}
    - pause: {duration: {{ $.Values.argoRollouts.pauseSeconds }}s}
    {{- end }}
  {{- if .analysis.prometheus }}
  # In the background of all steps; a failure aborts the update at once.
  analysis:
    startingStep: 1
    templates:
      - templateName: {{ $name }}
    args:
      - name: stable-hash
        valueFrom: {podTemplateHashValue: Stable}
      - name: new-hash
        valueFrom: {podTemplateHashValue: Latest}
  {{- end }}
{{- end -}}
{{- end -}}
